"""Examples: a small trained model with known circuits, and prompt pairs to run on it."""
