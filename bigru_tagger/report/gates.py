"""Show the gates of a pipeline's GRU on a text: as arrays, as a table, and as a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from wasabi.tables import table

from ..decoding.transitions import to_numpy
from ..errors import DataError, ModelError
from ..model.shim import NetworkShim
from ..model.thinc_model import network_shims, trace
from ..pipeline.component import SequenceTagger
from ..plots import save_figure
from ..scoring.loading import run_before

if TYPE_CHECKING:
    from ..network.encoder import LayerGates


@dataclass(frozen=True)
class Gates:
    """The gates of a GRU at each token of a text.

    component (str): the name of the component.
    tokens (tuple[str, ...]): the tokens.
    tags (tuple[str, ...]): the predicted tags; empty for a shared encoder, which predicts none.
    layers (tuple[LayerGates, ...]): the gates of each layer and direction, lowest layer first.
    shares (Mapping[str, ndarray]): the summands of the predicted tag's logit, float32 (n_tokens,)
        each: `forward` and `backward` states, the `context` around the sentence, and the `bias`.
        Empty without tags.
    """

    component: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    layers: "tuple[LayerGates, ...]"
    shares: Mapping[str, np.ndarray]


def read_gates(nlp: Language, text: str | Doc, component: str | None = None) -> Gates:
    """Run a pipeline on a text, and record the gates of its GRU.

    nlp (Language): the pipeline.
    text (str | Doc): the text; a Doc is not modified.
    component (str | None): the name of the component; `None` for the first that has a GRU.
    RETURNS (Gates): the gates.
    RAISES (ValueError): there is no such component, it has no GRU, or the text has no tokens.
    """
    name = _find_component(nlp, component)
    doc = nlp.make_doc(text) if isinstance(text, str) else text.copy()
    if not len(doc):
        raise DataError("the text has no tokens, so there are no gates to read")
    (doc,) = run_before(nlp, name, [doc])
    pipe: Any = nlp.get_pipe(name)
    traced = trace(pipe.model, [doc])
    tags, shares = (), {}
    if isinstance(pipe, SequenceTagger):
        columns = to_numpy(pipe.best_tags([doc], pipe.logits([doc])[0]))
        tags = tuple(pipe.tags[column] for column in columns)
        shares = {
            name: part.float().cpu().numpy()[np.arange(len(doc)), columns]
            for name, part in traced.parts.items()
        }
    return Gates(name, tuple(token.text for token in doc), tags, tuple(traced.layers), shares)


def components_with_gates(nlp: Language) -> list[str]:
    """List the components whose gates can be read: those with one GRU.

    nlp (Language): the pipeline.
    RETURNS (list[str]): the names of the components.
    """
    specs = {name: shim.spec for name, shim in _recurrent(nlp).items()}
    return [name for name, spec in specs.items() if spec.cell == "gru" and spec.members == 1]


def _find_component(nlp: Language, name: str | None) -> str:
    found = list(_recurrent(nlp))  # an LSTM has its own error
    if name is None and found:
        return found[0]
    if name in found:
        return name
    lacking = "no component" if name is None else f"no component {name!r}"
    raise ModelError(
        f"the pipeline has {lacking} with a GRU of bigru_tagger; the components with one are: "
        f"{', '.join(found) or 'none'}. If components share an encoder, the GRU belongs to the "
        "encoder's component"
    )


def _recurrent(nlp: Language) -> dict[str, NetworkShim]:
    # The networks with recurrent layers, by component.
    return {name: shim for name, shim in network_shims(nlp).items() if len(shim.spec.hidden) > 0}


def gates_table(gates: Gates) -> str:
    """Format the means over units as text, with one line per token.

    gates (Gates): the gates.
    RETURNS (str): the table.
    """
    means = {
        f"{name} {layer.layer + 1}{'→' if layer.direction == 'forward' else '←'}": values.mean(1)
        for layer in gates.layers
        for name, values in (("z", layer.update), ("r", layer.reset))
    }
    columns = {**means, **gates.shares}
    tags = gates.tags or ("",) * len(gates.tokens)
    rows = [
        (token, tag, *(f"{values[i]:.2f}" for values in columns.values()))
        for i, (token, tag) in enumerate(zip(gates.tokens, tags, strict=True))
    ]
    header = ("", "", *columns)
    return table(rows, header=header, aligns=("l", "l", *"r" * len(columns))).strip("\n")


def plot_gates(gates: Gates, path: Path, n_units: int = 8) -> None:
    """Draw the gates: for each layer and direction, the mean over units and some single units.

    gates (Gates): the gates.
    path (Path): the image, .svg or .png, written atomically.
    n_units (int): number of single units to draw, the most active ones.
    RAISES (OSError): the image cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency

    n_rows = len(gates.layers) + bool(gates.shares)
    width = max(8.0, 2.5 + 0.9 * len(gates.tokens))
    figure = Figure(figsize=(width, 1.0 + (0.9 + 0.22 * (n_units + 1)) * n_rows))
    figure.set_layout_engine("constrained")
    all_axes = figure.subplots(n_rows, 2, squeeze=False)
    image = None
    for row, layer in zip(all_axes, gates.layers, strict=False):
        units = layer.most_active(n_units)
        for axes, (name, values) in zip(
            row, (("update z", layer.update), ("reset r", layer.reset)), strict=True
        ):
            rows = np.concatenate([values.mean(1, keepdims=True), values[:, units]], 1).T
            image = axes.imshow(rows, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
            axes.set_title(f"layer {layer.layer + 1}, {layer.direction}: {name}", fontsize=9)
            labels = ["mean", *(f"unit {unit}" for unit in units)]
            axes.set_yticks(range(len(labels)), labels, fontsize=7)
            _name_tokens(axes, gates)
    if image is not None:
        figure.colorbar(image, ax=all_axes[: len(gates.layers)], label="gate", shrink=0.6)
    if gates.shares:
        for axes in all_axes[-1]:
            axes.remove()
        _draw_shares(figure.add_subplot(all_axes[-1, 0].get_gridspec()[-1, :]), gates)
    save_figure(figure, path)


def _name_tokens(axes: Any, gates: Gates) -> None:
    labels: Sequence[str] = gates.tokens
    if gates.tags:
        labels = [f"{token}\n{tag}" for token, tag in zip(gates.tokens, gates.tags, strict=True)]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=7)


def _draw_shares(axes: Any, gates: Gates) -> None:
    places = np.arange(len(gates.tokens))
    width = 0.8 / len(gates.shares)
    for i, (name, values) in enumerate(gates.shares.items()):
        axes.bar(places + (i + 0.5) * width - 0.4, values, width, label=name)
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_title("summands of the predicted tag's logit", fontsize=9)
    # Next to the bars, so that it never covers them.
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _name_tokens(axes, gates)
