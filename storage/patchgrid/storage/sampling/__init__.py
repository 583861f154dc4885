"""Which of a job's cells are patched: with the scores, and in later rounds."""
