"""Bi-GRU sequence tagging for spaCy: entities, tags and chunks."""

__version__ = "0.2.0"
__all__ = ["__version__"]
