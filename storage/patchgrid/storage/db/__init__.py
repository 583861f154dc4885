"""Database access: connections, dialects, locks, schema versions, blobs."""
