"""The torch modules of the embeddings, one per kind. No spaCy."""
