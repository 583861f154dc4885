"""Orders: from pairs and settings, as a notebook has them, to what a backend takes."""
