"""The Dataloop test tool: a model's answers as annotations on the items of a dataset."""
