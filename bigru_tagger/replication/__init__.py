"""Several seeds of a recipe, and what they say together."""
