"""Text for people: safe messages, number formatting, shared words."""
