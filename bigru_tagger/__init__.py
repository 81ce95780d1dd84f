"""Bi-GRU sequence tagging for spaCy: entities, tags and chunks."""

from importlib.metadata import version

__version__ = version("bigru-tagger")
__all__ = ["__version__"]
