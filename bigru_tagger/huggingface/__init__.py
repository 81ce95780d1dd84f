"""Components as models of Hugging Face `transformers`, and back.

To import this package is to let `transformers` know the format.
"""

from .token_classification import BiGRUForTokenClassification

__all__ = ["BiGRUForTokenClassification"]
