"""From a pair to token ids, or the reason why not."""
