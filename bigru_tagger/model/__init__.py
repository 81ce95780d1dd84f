"""Convert Docs to the network's input, and wrap the network in thinc models."""
