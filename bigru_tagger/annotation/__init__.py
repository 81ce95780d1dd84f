"""Annotation of texts with a trained pipeline, from one Doc to a corpus on many machines."""
