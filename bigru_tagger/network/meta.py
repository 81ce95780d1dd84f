"""Build torch modules whose parameters are loaded from a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _SkipNormals(TorchFunctionMode):
    # On the meta device, torch draws normal numbers by a decomposition and imports its compiler
    # for that, which takes seconds.

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on the meta device, without memory and random numbers."""
    with torch.device("meta"), _SkipNormals():
        yield
