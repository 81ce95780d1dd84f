"""The registered architectures."""

from typing import Any, Literal

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..embeddings.standard import standard_embed
from ..network.decoders import check_decoder
from ..network.network import NetworkSpec
from .devices import Precision
from .shim import NetworkShim
from .thinc_model import DropoutSettings, docs_model, vectors_model

Cell = Literal["gru", "lstm"]


@registry.architectures("bigru_tagger.BiGRUTagger.v1")
def BiGRUTagger(  # noqa: N802
    embed: dict[str, Any] | None,
    hidden: int | list[int],
    *,
    depth: int | None = None,
    cell: Cell = "gru",
    bidirectional: bool = True,
    by_sentence: bool = True,
    occurrences: int = 0,
    global_context: int = 0,
    context_width: int | None = None,
    decode: str = "constrained",
    word_dropout: float | None = 0.0,
    input_dropout: float | None = None,
    hidden_dropout: float | None = None,
    recurrent_dropout: float | None = 0.0,
    mixed_precision: bool = False,
    predict_precision: Precision = "float32",
    allow_tf32: bool = False,
    device: str | None = None,
    nO: int | None = None,  # noqa: N803
) -> Model[list[Doc], list[Floats2d]]:
    """Build embedding, stacked bidirectional GRU, and a linear layer per token.

    embed (dict[str, Embedding] | None): embeddings by name; their vectors are concatenated. A
        null in place of a block leaves it out.
        None for hashed attributes, characters, word clusters and the vocab's vectors, see
        `standard_embed`.
    hidden (int | list[int]): units per direction: one width, or one for each layer.
    depth (int | None): number of layers; None for one, or as many as there are widths. 0 puts
        the linear layer right on the embeddings, say on a shared encoder's listener.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    by_sentence (bool): encode each sentence by itself, otherwise each Doc. Where a Doc has no
        sentence starts, they are guessed from punctuation and empty lines.
    occurrences (int): give each token the mean of the states of all occurrences of its word in the
        Doc, this wide, see `bigru_tagger.network.context.ContextPooling`; 0 for none.
    global_context (int): give each token the mean of the states of all tokens of the Doc, this
        wide, by sentence or not; 0 for none.
    context_width (int | None): with either of these, units of the layer that mixes them with the
        token's own state; None for as many as the state has.
    decode (str): the way of decoding. "constrained" learns the tag of each token by itself, and
        lets only valid sequences of tags win; "crf" also learns scores of going from tag to tag, by
        the likelihood of whole sequences; or the name of a decoder that you have registered, see
        `bigru_tagger.network.decoders`.
    word_dropout (float | None): chance that a token's whole input becomes zero in training.
    input_dropout (float | None): locked dropout of what enters the encoder.
    hidden_dropout (float | None): locked dropout of what leaves each of its layers.
    recurrent_dropout (float | None): locked dropout of the states that a GRU reads from the step
        before (Gal and Ghahramani 2016, arXiv 1512.05287); has to be 0.0 for an LSTM. On a GPU it
        costs cuDNN's speed in training. A dropout of null follows `[training] dropout`.
    mixed_precision (bool): train in bfloat16 where that is safe.
    predict_precision (str): "bfloat16" multiplies in it when predicting, "auto" does so where the
        CPU or GPU has instructions for it; the weights stay in float32.
    allow_tf32 (bool): let cuDNN's recurrent layers round to TF32 on a GPU, as torch does by
        default; outputs then differ from a CPU's by about 1e-3.
    device (str | None): a device of torch, "auto" for a GPU where there is one, or null to
        follow spaCy (`--gpu-id`). "cuda" needs torch alone, not CuPy.
    nO (int | None): number of tags; set by the component.
    RETURNS (Model[list[Doc], list[Floats2d]]): logits, (n_tokens, n_tags) for each Doc.
    RAISES (ValueError): if a setting does not fit.
    """
    _check_context(occurrences, global_context, context_width)
    spec = NetworkSpec(
        {},
        _widths(hidden, depth),
        cell,
        bidirectional,
        occurrences=occurrences,
        global_context=global_context,
        context_width=context_width,
        decode=check_decoder(decode),
    )
    return docs_model(
        "bigru_tagger",
        standard_embed() if embed is None else embed,
        spec,
        dropout=DropoutSettings(word_dropout, input_dropout, hidden_dropout, recurrent_dropout),
        shim=NetworkShim(
            device=device,
            mixed_precision=mixed_precision,
            predict_precision=predict_precision,
            allow_tf32=allow_tf32,
        ),
        by_sentence=by_sentence,
        n_out=nO,
    )


@registry.architectures("bigru_tagger.BiGRUTok2Vec.v1")
def BiGRUTok2Vec(  # noqa: N802
    embed: dict[str, Any] | None,
    hidden: int | list[int],
    *,
    depth: int | None = None,
    cell: Cell = "gru",
    bidirectional: bool = True,
    by_sentence: bool = True,
    occurrences: int = 0,
    global_context: int = 0,
    context_width: int | None = None,
    word_dropout: float | None = 0.0,
    input_dropout: float | None = None,
    hidden_dropout: float | None = None,
    recurrent_dropout: float | None = 0.0,
    mixed_precision: bool = False,
    predict_precision: Precision = "float32",
    allow_tf32: bool = False,
    device: str | None = None,
) -> Model[list[Doc], list[Floats2d]]:
    """Build embedding and stacked bidirectional GRU, for a `tok2vec` that components share.

    The width that listeners have to name is the last layer's `hidden`, times two if bidirectional;
    or `context_width`, if that is set and used.
    The arguments are those of `BiGRUTagger`.

    RETURNS (Model[list[Doc], list[Floats2d]]): hidden states, (n_tokens, width) for each Doc.
    RAISES (ValueError): if a setting does not fit.
    """
    widths = _widths(hidden, depth)
    if not widths:
        raise ValueError("BiGRUTok2Vec needs at least one layer; got depth = 0")
    _check_context(occurrences, global_context, context_width)
    spec = NetworkSpec(
        {},
        widths,
        cell,
        bidirectional,
        occurrences=occurrences,
        global_context=global_context,
        context_width=context_width,
    )
    states = widths[-1] * (2 if bidirectional else 1)
    mixed = occurrences > 0 or global_context > 0
    return docs_model(
        "bigru_tok2vec",
        standard_embed() if embed is None else embed,
        spec,
        dropout=DropoutSettings(word_dropout, input_dropout, hidden_dropout, recurrent_dropout),
        shim=NetworkShim(
            device=device,
            mixed_precision=mixed_precision,
            predict_precision=predict_precision,
            allow_tf32=allow_tf32,
        ),
        by_sentence=by_sentence,
        n_out=context_width if mixed and context_width is not None else states,
    )


@registry.architectures("bigru_tagger.BiGRUEncoder.v1")
def BiGRUEncoder(  # noqa: N802
    width: int,
    *,
    depth: int = 1,
    cell: Cell = "gru",
    bidirectional: bool = True,
    input_dropout: float | None = 0.0,
    hidden_dropout: float | None = None,
    recurrent_dropout: float | None = 0.0,
    mixed_precision: bool = False,
    predict_precision: Precision = "float32",
    allow_tf32: bool = False,
    device: str | None = None,
) -> Model[list[Floats2d], list[Floats2d]]:
    """Build a stacked bidirectional GRU for the `encode` slot of `spacy.Tok2Vec.v2`.

    width (int): width of input and output, as of spaCy's other encoders; half of it for each
        direction.
    depth (int): number of layers.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    input_dropout (float | None): locked dropout of the input.
    hidden_dropout (float | None): locked dropout of what leaves each layer.
    recurrent_dropout (float | None): see `BiGRUTagger`. A dropout of null follows
        `[training] dropout`.
    mixed_precision (bool): see `BiGRUTagger`.
    predict_precision (str): see `BiGRUTagger`.
    allow_tf32 (bool): see `BiGRUTagger`.
    device (str | None): see `BiGRUTagger`.
    RETURNS (Model[list[Floats2d], list[Floats2d]]): vectors in, hidden states out.
    RAISES (ValueError): if a setting does not fit.
    """
    if bidirectional and width % 2:
        raise ValueError(f"BiGRUEncoder: 'width' has to be even for two directions; got {width}")
    if depth < 1:
        raise ValueError(f"BiGRUEncoder: 'depth' has to be at least 1; got {depth}")
    units = width // 2 if bidirectional else width
    return vectors_model(
        "bigru_encoder",
        width,
        NetworkSpec({}, [units] * depth, cell, bidirectional),
        dropout=DropoutSettings(0.0, input_dropout, hidden_dropout, recurrent_dropout),
        shim=NetworkShim(
            device=device,
            mixed_precision=mixed_precision,
            predict_precision=predict_precision,
            allow_tf32=allow_tf32,
        ),
    )


def _check_context(occurrences: int, global_context: int, context_width: int | None) -> None:
    for name, width in {"occurrences": occurrences, "global_context": global_context}.items():
        if width < 0:
            raise ValueError(f"{name!r} has to be at least 0; got {width}")
    if context_width is not None and context_width < 1:
        raise ValueError(f"'context_width' has to be positive, or null; got {context_width}")


def _widths(hidden: int | list[int], depth: int | None) -> list[int]:
    if depth is not None and depth < 0:
        raise ValueError(f"'depth' has to be at least 0; got {depth}")
    if isinstance(hidden, int):
        return [hidden] * (1 if depth is None else depth)
    if depth is not None and depth != len(hidden):
        raise ValueError(
            f"'hidden' names the widths of {len(hidden)} layers, {hidden}, but 'depth' is {depth}: "
            "leave 'depth' out (null), or give one width"
        )
    return list(hidden)
