"""The queue: claims, leases, splitting, workers, job status."""
