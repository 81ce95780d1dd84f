"""The stages of prediction and training, recorded by `torch.profiler`.

Each stage is a profiler range with a name in `STAGES`. Ranges are nested if one stage runs inside
another. Without a profiler, a stage takes about a microsecond.

    with torch.profiler.profile() as profiled:
        docs = list(nlp.pipe(texts))
    print(profiled.key_averages().table(sort_by="cpu_time_total"))
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

READ = "bigru_tagger.read_docs"
EMBED = "bigru_tagger.embed"
ENCODE = "bigru_tagger.encode"
CONTEXT = "bigru_tagger.context"
NETWORK = "bigru_tagger.network"
DECODE = "bigru_tagger.decode"
MARGINALS = "bigru_tagger.marginals"
ANNOTATE = "bigru_tagger.annotate"

STAGES: Mapping[str, str] = {
    READ: "convert the tokens of Docs to the input of the network; known words come from a cache",
    EMBED: "read and embed features of words and tokens; in prediction, only of new words",
    ENCODE: "run the recurrent layers",
    CONTEXT: "compute means over documents and over the occurrences of a word",
    NETWORK: "run the network in prediction; without the nested `embed`, `encode` and `context`, "
    "this is the output layer",
    DECODE: "convert logits to spans or tags",
    MARGINALS: "compute the probabilities of spans or tags",
    ANNOTATE: "write predictions to Docs",
}
"""The work done in each stage."""


def _is_profiling() -> bool:
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    # Without a profiler, `record_function` takes 20 times as long as this check. The check is not
    # documented by torch: if it is missing, every call is recorded.
    return bool(getattr(torch.autograd, "_profiler_enabled", lambda: True)())


def stage(name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Record calls of a function as a stage.

    name (str): a key of `STAGES`.
    RETURNS (Callable): a decorator.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if not _is_profiling():
                return function(*args, **kwargs)
            from torch.profiler import record_function  # noqa: PLC0415 - imported by the profiler

            with record_function(name):
                return function(*args, **kwargs)

        return run

    return decorate
