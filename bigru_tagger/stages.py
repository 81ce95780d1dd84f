"""The stages of prediction and training, as a running `torch.profiler` shows them.

Each is a range of the profiler, named by a key of `STAGES`. Ranges are nested where one stage runs
inside another. Without a profiler, a stage costs about a microsecond.

    with torch.profiler.profile() as profiled:
        docs = list(nlp.pipe(texts))
    print(profiled.key_averages().table(sort_by="cpu_time_total"))
"""

import functools
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import torch
from torch.profiler import record_function

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
    READ: "the tokens of Docs become the input of the network; known words come from a cache",
    EMBED: "features of words and tokens are read and embedded; in prediction, new words only",
    ENCODE: "the recurrent layers",
    CONTEXT: "the means over documents and over occurrences of a word",
    NETWORK: "the network in prediction; by itself, without `embed`, `encode` and `context`, its "
    "output layer",
    DECODE: "logits become spans or tags",
    MARGINALS: "the probabilities of spans or tags",
    ANNOTATE: "predictions are written to Docs",
}
"""What happens in each stage."""

# `record_function` by itself takes 20 times as long as this question, also without a profiler. As
# torch does not document the function, every call is recorded where it is missing.
_is_profiling: Callable[[], bool] = getattr(torch.autograd, "_profiler_enabled", lambda: True)


def stage(name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function a stage.

    name (str): one of `STAGES`.
    RETURNS (Callable): a decorator.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if not _is_profiling():
                return function(*args, **kwargs)
            with record_function(name):
                return function(*args, **kwargs)

        return run

    return decorate
