"""The demo model: its prompts, tokenizer, training and evaluation."""
