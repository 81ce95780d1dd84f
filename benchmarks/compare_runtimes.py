"""Compare prediction in NumPy with PyTorch: `scripts/compare_runtimes --help`."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from wasabi.tables import table

from bigru_tagger.network.gru import SharedInput
from bigru_tagger.network.layout import Layout
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.network import ArrayNetwork
from bigru_tagger.runtime.spec import PREPARED_INPUT, Batch, NetworkSpec

from .speed.timing import Task, time_in_turn

_N_WORDS = 10_000
_EMBED = {
    "words": {"kind": "hash", "rows": [10_000, 1_000, 2_500], "width": 64, "unknown_rate": 0.3},
    "characters": {
        **{"kind": "char_cnn", "rows": 2051, "width": 50},
        **{"out_channels": 128, "kernel_size": 3},
    },
}


def compare_runtimes(
    hidden: Annotated[str, typer.Option(help="Units of each layer, separated by commas.")] = "192",
    cell: Annotated[str, typer.Option(help="gru or lstm.")] = "gru",
    *,
    context: Annotated[
        int, typer.Option(help="Width of the means over words and documents; 0 for none.")
    ] = 0,
    tokens: Annotated[int, typer.Option(help="Tokens of a batch.")] = 16_384,
    rounds: Annotated[int, typer.Option(help="Timed runs of each task.", min=1)] = 7,
) -> None:
    """Print the median words per CPU second of both, measured in turn.

    The network and the words are random. The words are new in "embeddings". Otherwise, they are
    known to the cache. For one thread, set OMP_NUM_THREADS=1.
    """
    spec = NetworkSpec(
        _EMBED,
        [int(units) for units in hidden.split(",")],
        cell=cell,
        n_tags=17,
        occurrences=context,
        global_context=context,
    )
    # A Poisson distribution with the mean length of sentences of news.
    lengths = np.random.default_rng(0).poisson(14, max(tokens // 14, 1))
    tasks: dict[tuple[str, str], Task] = {}
    for what, sizes in (("batch", lengths), ("13 words", np.array([13]))):
        for (library, part), task in _tasks(spec, sizes).items():
            tasks[library, f"{part}, {what}"] = task
    measured = time_in_turn(tasks, rounds, clock=time.process_time)
    timings = {(one.system, one.variant): one for one in measured}
    rows = []
    for system, variant in timings:
        if system == "numpy":
            ours, theirs = timings["numpy", variant], timings["torch", variant]
            ratio = f"{ours.speed / theirs.speed:.2f}"
            rows.append((variant, f"{theirs.speed:,.0f}", f"{ours.speed:,.0f}", ratio))
    header = ("words per CPU second", "PyTorch", "NumPy", "ratio")
    typer.echo(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r")))


def _tasks(spec: NetworkSpec, lengths: np.ndarray) -> dict[tuple[str, str], Task]:
    # Tasks by library and part of the network.
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = Network(spec).eval()
    ours = ArrayNetwork(spec, network.arrays)
    n_tokens = int(lengths.sum())
    characters = rng.integers(1, 100, (_N_WORDS, 42))
    characters[np.arange(42) >= rng.integers(3, 12, (_N_WORDS, 1))] = 0  # padding
    words = {"words": (rng.integers(1 << 60, size=(_N_WORDS, 3)),), "characters": (characters,)}
    n_new = min(n_tokens, 1024)  # as many as are embedded at once
    new = {name: tuple(array[:n_new] for array in own) for name, own in words.items()}
    docs = np.arange(n_tokens) // 400
    index = rng.zipf(1.5, n_tokens) % _N_WORDS  # as in natural language, few words are frequent
    occurrences = np.unique(docs * _N_WORDS + index, return_inverse=True)[1].reshape(-1)
    groups = {"occurrences": occurrences, "global_context": docs}
    batch = Batch(lengths.tolist(), index, groups=groups, prepared=ours.prepare(words))

    def tensors(arrays: Any) -> Any:
        if isinstance(arrays, np.ndarray):
            return torch.from_numpy(arrays)
        if isinstance(arrays, tuple):
            return tuple(map(tensors, arrays))
        return {name: tensors(own) for name, own in arrays.items()}

    with torch.inference_mode():
        prepared = network.prepare(tensors(words))
    known = Batch(batch.lengths, torch.from_numpy(index), groups=tensors(groups), prepared=prepared)
    rows = torch.from_numpy(index)
    shared = SharedInput(prepared[PREPARED_INPUT], rows, is_prepared=spec.cell == "gru")
    no_columns = torch.zeros(n_tokens, 0)
    new_tensors = tensors(new)
    inputs = ours.prepare(words)[PREPARED_INPUT], index

    def encode() -> Any:
        return network.encoder(no_columns, Layout(lengths, rows.device), shared=shared)

    def encode_in_numpy() -> Any:
        with np.errstate(over="ignore"):
            return ours.encoder(lengths, inputs, None)

    runs: dict[tuple[str, str], Callable[[], Any]] = {
        ("torch", "recurrent layers"): encode,
        ("numpy", "recurrent layers"): encode_in_numpy,
        ("torch", "network"): lambda: network(known),
        ("numpy", "network"): lambda: ours(batch),
        ("torch", "embeddings"): lambda: network.prepare(new_tensors),
        ("numpy", "embeddings"): lambda: ours.prepare(new),
    }
    return {
        (library, part): _task(run, n_new if part == "embeddings" else n_tokens)
        for (library, part), run in runs.items()
    }


def _task(run: Callable[[], Any], n_words: int) -> Task:
    def work() -> int:
        with torch.inference_mode():
            run()
        return n_words

    return lambda: work


def main() -> None:
    """Run the command line."""
    typer.run(compare_runtimes)


if __name__ == "__main__":
    main()
