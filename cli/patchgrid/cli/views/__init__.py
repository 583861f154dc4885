"""What commands print about jobs and results."""
