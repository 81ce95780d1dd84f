"""Convert components to Hugging Face `transformers` models and back.

Importing this package registers the model type with `transformers`.
"""

from .token_classification import BiGRUForTokenClassification

__all__ = ["BiGRUForTokenClassification"]
