"""The terminal: text, tables, progress bars, output files, signals."""
