"""Training without a config: read any data, choose a recipe, train, and score."""
