"""A loaded model seen as blocks, heads and MLPs."""
