"""One module per embedding: the registered function and the features that it reads from Docs."""
