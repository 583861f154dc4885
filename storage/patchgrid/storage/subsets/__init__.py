"""Random subsets of components that were patched together, and the bounds that follow."""
