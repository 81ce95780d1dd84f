"""Mutations of data files, with what a reader has to do with each."""
