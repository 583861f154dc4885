"""From the records of a file to pairs, whatever its format."""
