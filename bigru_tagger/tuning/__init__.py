"""Fit settings of trained components on development data."""
