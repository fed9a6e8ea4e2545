"""The executor around the model: threads that each own a worker."""
