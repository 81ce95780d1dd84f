"""How a small pipeline learns what a large one says."""
