"""From logits to tags: valid transitions, search, marginals, and the registered decoders."""
