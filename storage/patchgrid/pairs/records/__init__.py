"""Converting a file's records to pairs, for every format."""
