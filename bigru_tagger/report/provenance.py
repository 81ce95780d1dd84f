"""Describe the origin of scores: model, size, data, machine, versions and command."""

from datetime import datetime, timezone
from pathlib import Path

from spacy.language import Language

from ..corpus.fingerprint import fingerprint
from ..model.thinc_model import network_shims
from ..scoring.run import Evaluation, describe_machine


def describe_evaluation(
    nlp: Language | None,
    evaluation: Evaluation,
    *,
    command: str = "",
    train: tuple[str, str] | None = None,
) -> dict[str, str]:
    """Describe the model, data and machine of an evaluation.

    Model and data are followed by their fingerprints, see `fingerprint`.

    nlp (Language | None): the pipeline; `None` for a file of predictions.
    evaluation (Evaluation): the scores.
    command (str): the command line; empty if there was none.
    train (tuple[str, str] | None): the training data and their split, "" if they have no splits;
        `None` if there are no training data.
    RETURNS (dict[str, str]): one line of text for each item, by the name of the item.
    """
    machine = describe_machine()
    about = {
        "model": f"{evaluation.model}{_fingerprint(evaluation.model)}",
        "data": _data(evaluation.data, evaluation.split) if evaluation.data else "",
        "Docs": f"{evaluation.documents:,} with {evaluation.tokens:,} tokens",
        "machine": f"{machine['cpu']}, {machine['cores']} threads, GPU: {machine['gpu'] or 'none'}",
        "versions": ", ".join(f"{name} {number}" for name, number in evaluation.versions.items()),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
    }
    if nlp is not None:
        about |= {"components": ", ".join(evaluation.pipes), "size": _size(nlp)}
    if evaluation.seconds is not None:
        about["speed"] = (
            f"{evaluation.words_per_second:,.0f} words/s: {evaluation.tokens:,} tokens in "
            f"{evaluation.seconds:.2f} s of nlp.pipe, after a warm-up"
        )
    if train is not None:
        about["training data"] = _data(*train)
    return {name: text for name, text in about.items() if text}


def n_parameters(nlp: Language) -> dict[str, int]:
    """Count the trainable parameters of the components of this package.

    nlp (Language): the pipeline.
    RETURNS (dict[str, int]): number of parameters by component, without frozen word vectors.
    """
    return {
        name: sum(weights.numel() for weights in shim.network.parameters())
        for name, shim in network_shims(nlp).items()
    }


def size_on_disk(path: Path) -> int:
    """Add up the sizes of all files in a folder.

    path (Path): the folder.
    RETURNS (int): the size in bytes.
    """
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _size(nlp: Language) -> str:
    parts = [f"{n:,} parameters in {name}" for name, n in n_parameters(nlp).items()]
    if nlp.path is not None:
        parts.append(f"{size_on_disk(nlp.path) / 2**20:,.1f} MiB on disk")
    return ", ".join(parts) or "unknown"


def _data(data: str, split: str) -> str:
    of_split = f", split {split}" if split else ""
    return f"{data}{of_split}{_fingerprint(data)}"


def _fingerprint(source: str) -> str:
    # Without local files, `fingerprint` returns the name.
    identity = fingerprint(source)
    return "" if identity == source else f" ({identity})"
