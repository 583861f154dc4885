"""Working jobs off: lease a chunk, measure it, commit it."""
