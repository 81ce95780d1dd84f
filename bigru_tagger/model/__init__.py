"""From Docs to the network's input, and thinc's models around the network."""
