"""Bi-GRU sequence tagging for spaCy: entities, tags and chunks."""

__version__ = "0.1.0"
__all__ = ["__version__"]
