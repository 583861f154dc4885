"""The broker: its URL, the queue of each model, and the messages on it."""
