"""Jobs: pair files, the queue, storage, the HTTP service."""
