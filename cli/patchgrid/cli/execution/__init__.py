"""Running a job in this process, and what is checked before."""
