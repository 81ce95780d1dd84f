"""Prediction in NumPy, from a saved network. No torch, no spaCy."""
