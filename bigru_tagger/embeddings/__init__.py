"""One module per embedding: its registered function, and what it reads of Docs."""
