"""How fast pipelines predict and train, measured side by side."""
