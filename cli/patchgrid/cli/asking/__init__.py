"""Where commands' answers come from: a database, or a server in front of one."""
