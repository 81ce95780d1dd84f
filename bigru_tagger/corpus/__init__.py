"""Read annotated corpora from datasets and files into spaCy Examples."""
