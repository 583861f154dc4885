"""The queue: claims, leases, splitting, workers, how a job stands."""
