"""File formats of pair files: CSV, JSON, JSON Lines, Parquet."""
