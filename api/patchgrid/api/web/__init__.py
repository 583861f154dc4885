"""HTTP itself: problem details, headers, ETags, compression, cursors, uploads."""
