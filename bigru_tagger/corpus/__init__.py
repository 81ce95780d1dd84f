"""From rows, lines and files to spaCy's Examples."""
