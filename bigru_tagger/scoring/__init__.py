"""Evaluation of pipelines and files of predictions on gold data."""
