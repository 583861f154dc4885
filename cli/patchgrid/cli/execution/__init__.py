"""Running a job in this process, and the checks before it."""
