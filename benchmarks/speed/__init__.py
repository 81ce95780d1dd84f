"""Measure the speed of prediction and training, side by side."""
