"""The embeddings in NumPy, one module per kind. No torch, no spaCy."""
