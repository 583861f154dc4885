"""Who may do what: tokens, owners, quotas; jobs submitted."""
