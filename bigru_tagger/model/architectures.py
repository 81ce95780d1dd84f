"""The registered architectures."""

from typing import Any, Literal

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..decoding.decoders import check_decoder
from ..embeddings.standard import standard_embed
from ..errors import ConfigError
from ..runtime.spec import NetworkSpec
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
    """Build a tagger: embeddings, a stacked bidirectional GRU, and a linear layer per token.

    embed (dict[str, Embedding] | None): embeddings by name. Their vectors are concatenated. Set a
        block to null to leave it out. If the whole section is null, it is hashed attributes,
        characters, word clusters and the vocab's vectors, see
        `bigru_tagger.embeddings.standard.standard_embed`.
    hidden (int | list[int]): units of each direction: one number for all layers, or a list with
        one number per layer.
    depth (int | None): number of layers. With null, it is the length of `hidden`, or 1 if `hidden`
        is a number. With 0 there is no encoder: the linear layer is applied to the embeddings, for
        example to the listener of a shared encoder.
    cell (str): "gru" or "lstm".
    bidirectional (bool): add a backward direction. Both directions are concatenated.
    by_sentence (bool): encode each sentence separately; otherwise each Doc. In a Doc without
        sentence boundaries, they are estimated from punctuation and empty lines.
    occurrences (int): width of the weighted mean of the states of all occurrences of a token's word
        in the Doc, see `bigru_tagger.network.context.ContextPooling`; 0 for none.
    global_context (int): width of the weighted mean of the states of all tokens in the Doc, also if
        `by_sentence` is true; 0 for none.
    context_width (int | None): units of the layer that combines these means with a token's state;
        null for the width of the state. Used only if `occurrences` or `global_context` is set.
    decode (str): name of the decoder. "constrained" trains a softmax per token and predicts only
        valid tag sequences. "crf" also learns transition scores, by the likelihood of whole
        sequences. Other decoders can be registered, see `bigru_tagger.decoding.decoders`.
    word_dropout (float | None): probability that a token's whole input is set to zero in training.
        For all four dropout rates, null uses `[training] dropout`.
    input_dropout (float | None): locked dropout of the encoder's input.
    hidden_dropout (float | None): locked dropout of the output of each layer.
    recurrent_dropout (float | None): locked dropout of the previous state in the recurrent products
        of a GRU (Gal and Ghahramani 2016, arXiv 1512.05287). Must be 0.0 for an LSTM. cuDNN does
        not support it, so it makes training on a GPU slower.
    mixed_precision (bool): train with torch's automatic mixed precision in bfloat16.
    predict_precision (str): "float32", or "bfloat16" to compute matrix products in bfloat16 in
        prediction. "auto" selects bfloat16 if the CPU or GPU has instructions for it. Weights stay
        in float32. bfloat16 needs the extra `torch`. Without it, "auto" is "float32".
    allow_tf32 (bool): allow cuDNN's recurrent layers to round to TF32 on a GPU, like torch by
        default. The states then differ from those on a CPU by about 1e-3.
    device (str | None): a torch device such as "cuda:1"; "auto" for a GPU if there is one; null to
        use spaCy's setting (`--gpu-id`). "cuda" does not need CuPy. All devices except "cpu" need
        the extra `torch`. Without it, "auto" is "cpu".
    nO (int | None): number of tags; set by the component.
    RETURNS (Model[list[Doc], list[Floats2d]]): a model from Docs to logits, (n_tokens, n_tags) for
        each Doc.
    RAISES (ValueError): if a setting is not valid.
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
    """Build embeddings and a stacked bidirectional GRU, for a `tok2vec` that components share.

    The `width` of listeners must be the width of the output: the units of the last layer, times two
    if bidirectional. With `occurrences` or `global_context`, it is `context_width`, if that is set.
    The arguments are those of `BiGRUTagger`. `depth` must not be 0.

    RETURNS (Model[list[Doc], list[Floats2d]]): a model from Docs to hidden states,
        (n_tokens, width) for each Doc.
    RAISES (ValueError): if a setting is not valid.
    """
    widths = _widths(hidden, depth)
    if not widths:
        raise ConfigError("BiGRUTok2Vec needs at least one layer; got depth = 0")
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

    width (int): width of input and output, as for spaCy's other encoders. With two directions, each
        has half of it.
    depth (int): number of layers.
    cell (str): "gru" or "lstm".
    bidirectional (bool): add a backward direction. Both directions are concatenated.
    input_dropout (float | None): locked dropout of the input. For all three dropout rates, null
        uses `[training] dropout`.
    hidden_dropout (float | None): locked dropout of the output of each layer.
    recurrent_dropout (float | None): see `BiGRUTagger`.
    mixed_precision (bool): see `BiGRUTagger`.
    predict_precision (str): see `BiGRUTagger`.
    allow_tf32 (bool): see `BiGRUTagger`.
    device (str | None): see `BiGRUTagger`.
    RETURNS (Model[list[Floats2d], list[Floats2d]]): a model from vectors to hidden states, both
        (n_tokens, width) for each Doc.
    RAISES (ValueError): if a setting is not valid.
    """
    if bidirectional and width % 2:
        raise ConfigError(f"BiGRUEncoder: 'width' must be even for two directions; got {width}")
    if depth < 1:
        raise ConfigError(f"BiGRUEncoder: 'depth' must be at least 1; got {depth}")
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
            raise ConfigError(f"{name!r} must be at least 0; got {width}")
    if context_width is not None and context_width < 1:
        raise ConfigError(f"'context_width' must be positive, or null; got {context_width}")


def _widths(hidden: int | list[int], depth: int | None) -> list[int]:
    if depth is not None and depth < 0:
        raise ConfigError(f"'depth' must be at least 0; got {depth}")
    if isinstance(hidden, int):
        return [hidden] * (1 if depth is None else depth)
    if depth is not None and depth != len(hidden):
        raise ConfigError(
            f"'hidden' lists the units of {len(hidden)} layers, {hidden}, but 'depth' is {depth}: "
            "set 'depth' to null, or 'hidden' to one number"
        )
    return list(hidden)
