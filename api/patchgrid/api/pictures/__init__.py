"""Pictures of a job's numbers, wherever these come from: a database, or a server in front of one."""
