"""HTTP to a patchgrid server: addresses, retries, answers, events, uploads."""
