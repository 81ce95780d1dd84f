"""The network in PyTorch, for training, on a GPU, and in bfloat16. No spaCy."""
