"""A web service for a trained pipeline: one process, requests predicted in shared batches."""
