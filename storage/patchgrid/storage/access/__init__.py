"""Access: tokens, owners, quotas; submitting jobs."""
