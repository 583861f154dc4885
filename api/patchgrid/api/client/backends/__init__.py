"""Where a workspace's jobs live: a database, or a server in front of one. Both answer the same questions."""
