"""The network: embedding, recurrent layers and decoding, in plain PyTorch and NumPy."""

from .network import Network

__all__ = ["Network"]
