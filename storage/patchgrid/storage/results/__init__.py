"""Results of whole jobs: components, heatmaps, verification, the task line."""
