"""Workers: lease a chunk, measure it, commit it."""
