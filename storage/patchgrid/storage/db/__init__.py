"""The database itself: connections, dialects, locks, schema versions, blobs."""
