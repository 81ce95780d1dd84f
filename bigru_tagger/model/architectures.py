"""The registered functions: architectures, and the embeddings for their `embed` blocks."""

from typing import Any, Literal

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..network.decoders import check_decoder
from ..network.network import NetworkSpec
from ..network.transformer import Pooling
from ..network.transformer_loading import PretrainedTransformer
from .devices import Precision
from .features import (
    CharacterFilters,
    CharacterStates,
    Embedding,
    HashedAttributes,
    StaticVectors,
    UpstreamTok2Vec,
)
from .shim import NetworkShim
from .tables import Gazetteer, VectorFile, WordClusters
from .thinc_model import DropoutSettings, docs_model, vectors_model
from .transformer_layer import TransformerShim, transformer_model

Cell = Literal["gru", "lstm"]


@registry.misc("bigru_tagger.HashEmbed.v1")
def HashEmbed(  # noqa: N802
    *, attrs: list[str], rows: list[int], width: int, unknown_rate: float, fold_digits: bool
) -> Embedding:
    """Embed hashed lexical attributes; no vocabulary is kept.

    attrs (List[str]): names of lexical attributes, such as NORM, PREFIX or SHAPE.
    rows (List[int]): the size of each attribute's table.
    width (int): width of each attribute's vector.
    unknown_rate (float): chance of a word's attribute to count as unknown in training, so that
        there is a vector for values that training never saw.
    fold_digits (bool): read every digit as 0, so that numbers of a kind are one word.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return HashedAttributes(attrs, rows, width, unknown_rate=unknown_rate, fold_digits=fold_digits)


@registry.misc("bigru_tagger.CharCNNEmbed.v1")
def CharCNNEmbed(  # noqa: N802
    *, width: int, filters: int, window: int, rows: int, max_length: int, fold_digits: bool
) -> Embedding:
    """Embed the characters of each word by a convolution and a maximum over positions.

    width (int): width of a character's vector.
    filters (int): number of filters, the width of the word's vector.
    window (int): characters that a filter sees at once, odd.
    rows (int): size of the character table; code points beyond share rows.
    max_length (int): characters read of a word; of a longer one, its first and last half.
    fold_digits (bool): read every digit as 0.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return CharacterFilters(
        width=width,
        filters=filters,
        window=window,
        rows=rows,
        max_length=max_length,
        fold_digits=fold_digits,
    )


@registry.misc("bigru_tagger.CharGRUEmbed.v1")
def CharGRUEmbed(  # noqa: N802
    *, width: int, hidden: int, rows: int, max_length: int, fold_digits: bool
) -> Embedding:
    """Embed the characters of each word by the last states of a bidirectional GRU over them.

    width (int): width of a character's vector.
    hidden (int): units of each direction; the word's vector is twice as wide.
    rows (int): size of the character table; code points beyond share rows.
    max_length (int): characters read of a word; of a longer one, its first and last half.
    fold_digits (bool): read every digit as 0.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return CharacterStates(
        width=width, hidden=hidden, rows=rows, max_length=max_length, fold_digits=fold_digits
    )


@registry.misc("bigru_tagger.VectorsEmbed.v1")
def VectorsEmbed(fallback: bool, correction_rows: int) -> Embedding:  # noqa: N802
    """Embed words by the vectors of the vocab.

    fallback (bool): look a word without a vector up in lower case, capitalised, and with its
        digits read as 0.
    correction_rows (int): size of a hashed table of corrections that training adds to the vectors
        of the words it sees, by their lower-cased form: fine-tuning that L2 pulls back to the
        static vectors, see `bigru_tagger.network.embed.StaticEmbedding`. 0 leaves the vectors as
        they are.
    RETURNS (Embedding): for the `embed` block of an architecture; without vectors in the vocab
        it adds nothing.
    """
    return StaticVectors(fallback, correction_rows)


@registry.misc("bigru_tagger.VectorFileEmbed.v1")
def VectorFileEmbed(source: str | None, correction_rows: int) -> Embedding:  # noqa: N802
    """Embed words by vectors from a file or package, beside those of the vocab.

    source (Optional[str]): a text file of GloVe or word2vec, a `.npy` file with its words beside
        it, or a folder or installed package that holds one; see
        `bigru_tagger.model.resources.read_vectors`.
        Words are looked up as they are, in lower case, capitalised, and with digits read as 0.
        The vectors become part of the trained model, which does not need the file. Null adds
        nothing.
    correction_rows (int): see `VectorsEmbed`.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return Embedding() if source is None else VectorFile(source, correction_rows)


@registry.misc("bigru_tagger.ClusterEmbed.v1")
def ClusterEmbed(  # noqa: N802
    source: str | None, prefixes: list[int], width: int
) -> Embedding:
    """Embed words by hierarchical clusters, such as Brown clusters.

    source (Optional[str]): "lexeme_cluster", the table of the package `spacy-lookups-data`, or a
        file of bit paths; see `bigru_tagger.model.resources.read_clusters`. The clusters become
        part of the trained model, which needs neither. Null adds nothing.
    prefixes (List[int]): lengths of the prefixes of the path, in bits.
    width (int): width of each prefix's vector.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return Embedding() if source is None else WordClusters(source, prefixes, width)


@registry.misc("bigru_tagger.GazetteerEmbed.v1")
def GazetteerEmbed(  # noqa: N802
    source: str | dict[str, str | list[str]] | None, width: int, max_words: int
) -> Embedding:
    """Embed tokens by the phrases of given lists that they are part of, such as known names.

    source (Union[str, Dict[str, Union[str, List[str]]], None]): a folder whose `.txt` files hold
        one phrase a line, or the file or files of each list by the list's name. The phrases become
        part of the trained model, which does not need the files. Null adds nothing.
    width (int): width of a token's vector.
    max_words (int): tokens of a text that a phrase may take up.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return Embedding() if source is None else Gazetteer(source, width, max_words)


@registry.misc("bigru_tagger.Tok2VecEmbed.v1")
def Tok2VecEmbed(tok2vec: Model[list[Doc], list[Floats2d]]) -> Embedding:  # noqa: N802
    """Embed tokens by a spaCy `tok2vec`: a listener, or a network of its own, trained along.

    tok2vec (Model[List[Doc], List[Floats2d]]): the network.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return UpstreamTok2Vec(tok2vec)


@registry.misc("bigru_tagger.TransformerEmbed.v1")
def TransformerEmbed(  # noqa: N802
    *,
    name: str,
    revision: str | None,
    pooling: Pooling,
    layers: int,
    window: int | None,
    overlap: int,
    trainable: bool,
    learn_rate: float | None,
    cache_mb: int,
) -> Embedding:
    """Embed tokens by a transformer of Hugging Face's `transformers`.

    Weights, configuration and tokenizer become part of the trained model, which needs neither the
    folder nor the network. Device and precision are those of the model that has the `embed` block.
    White space, and words of which the tokenizer leaves nothing, have a vector of zeros.

    name (str): an encoder of the hub, or a folder that `save_pretrained` wrote.
    revision (Optional[str]): a branch, tag or commit of the hub; null for the newest.
    pooling (str): which of its sub-words make a word's vector: "first", "last", or the "mean".
    layers (int): how many of the last layers are mixed, by weights that are learned; 1 for the
        last layer alone.
    window (Optional[int]): sub-words that are read at once, with the special ones; null for the
        model's maximum. What is longer is read in overlapping windows.
    overlap (int): sub-words that two windows share, at least: half of it is the least context that
        a word has on the side of a cut.
    trainable (bool): train the transformer too; otherwise only the mix of its layers is learned.
    learn_rate (Optional[float]): the transformer's own learn rate where that of the optimizer is
        highest (within its next 20,000 steps); it follows the optimizer's schedule in proportion.
        null for the optimizer's.
    cache_mb (int): MiB of memory for what a frozen transformer puts out for each Doc in training,
        so that it runs once per Doc, not once per epoch: 4 bytes * width * layers per token. 0
        keeps nothing. Where the transformer is trained, there is nothing to keep.
    RETURNS (Embedding): for the `embed` block of an architecture.
    RAISES (ValueError): if a setting does not fit.
    """
    if cache_mb < 0 or (learn_rate is not None and learn_rate <= 0.0):
        raise ValueError(
            "TransformerEmbed: 'cache_mb' has to be at least 0, and 'learn_rate' positive, or "
            f"null; got cache_mb = {cache_mb}, learn_rate = {learn_rate}"
        )
    if learn_rate is not None and not trainable:
        raise ValueError(
            f"TransformerEmbed: learn_rate = {learn_rate} is for a transformer that is trained: "
            "set trainable = true, or learn_rate = null"
        )
    shim = TransformerShim(
        PretrainedTransformer(name, revision, pooling, layers, window, overlap),
        trainable=trainable,
        learn_rate=learn_rate,
        cache_bytes=cache_mb << 20,
    )
    return UpstreamTok2Vec(transformer_model(shim))


def standard_embed() -> dict[str, Embedding]:
    """Build the embeddings of an architecture whose `embed` is null.

    RETURNS (Dict[str, Embedding]): words by hashed attributes, their characters, the clusters of
        `spacy-lookups-data` for the languages that it has them for (English, German and Spanish),
        and the vectors of the vocab, if it has any.
    """
    return {
        "words": HashEmbed(
            attrs=["NORM", "PREFIX", "SUFFIX", "SHAPE"],
            rows=[5000, 1000, 2500, 2500],
            width=64,
            unknown_rate=0.3,
            fold_digits=True,
        ),
        "characters": CharCNNEmbed(
            width=32, filters=64, window=3, rows=2048, max_length=40, fold_digits=True
        ),
        "clusters": WordClusters(
            "lexeme_cluster", prefixes=[4, 6, 8, 10, 12, 16, 24], width=32, required=False
        ),
        "vectors": VectorsEmbed(fallback=True, correction_rows=0),
    }


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

    embed (Optional[Dict[str, Embedding]]): embeddings by name; their vectors are concatenated. A
        null in place of a block leaves it out.
        None for hashed attributes, characters, word clusters and the vocab's vectors, see
        `standard_embed`.
    hidden (Union[int, List[int]]): units per direction: one width, or one for each layer.
    depth (Optional[int]): number of layers; None for one, or as many as there are widths. 0 puts
        the linear layer right on the embeddings, say on a shared encoder's listener.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    by_sentence (bool): encode each sentence by itself, otherwise each Doc. Where a Doc has no
        sentence starts, they are guessed from punctuation and empty lines.
    occurrences (int): give each token the mean of the states of all occurrences of its word in the
        Doc, this wide, see `bigru_tagger.network.context.ContextPooling`; 0 for none.
    global_context (int): give each token the mean of the states of all tokens of the Doc, this
        wide, by sentence or not; 0 for none.
    context_width (Optional[int]): with either of these, units of the layer that mixes them with the
        token's own state; None for as many as the state has.
    decode (str): the way of decoding. "constrained" learns the tag of each token by itself, and
        lets only valid sequences of tags win; "crf" also learns scores of going from tag to tag, by
        the likelihood of whole sequences; or the name of a decoder that you have registered, see
        `bigru_tagger.network.decoders`.
    word_dropout (Optional[float]): chance that a token's whole input becomes zero in training.
    input_dropout (Optional[float]): locked dropout of what enters the encoder.
    hidden_dropout (Optional[float]): locked dropout of what leaves each of its layers.
    recurrent_dropout (Optional[float]): locked dropout of the states that a GRU reads from the step
        before (Gal and Ghahramani 2016, arXiv 1512.05287); has to be 0.0 for an LSTM. On a GPU it
        costs cuDNN's speed in training. A dropout of null follows `[training] dropout`.
    mixed_precision (bool): train in bfloat16 where that is safe.
    predict_precision (str): "bfloat16" multiplies in it when predicting, "auto" does so where the
        CPU or GPU has instructions for it; the weights stay in float32.
    allow_tf32 (bool): let cuDNN's recurrent layers round to TF32 on a GPU, as torch does by
        default; outputs then differ from a CPU's by about 1e-3.
    device (Optional[str]): a device of torch, "auto" for a GPU where there is one, or null to
        follow spaCy (`--gpu-id`). "cuda" needs torch alone, not CuPy.
    nO (Optional[int]): number of tags; set by the component.
    RETURNS (Model[List[Doc], List[Floats2d]]): logits, (n_tokens, n_tags) for each Doc.
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

    RETURNS (Model[List[Doc], List[Floats2d]]): hidden states, (n_tokens, width) for each Doc.
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
    input_dropout (Optional[float]): locked dropout of the input.
    hidden_dropout (Optional[float]): locked dropout of what leaves each layer.
    recurrent_dropout (Optional[float]): see `BiGRUTagger`. A dropout of null follows
        `[training] dropout`.
    mixed_precision (bool): see `BiGRUTagger`.
    predict_precision (str): see `BiGRUTagger`.
    allow_tf32 (bool): see `BiGRUTagger`.
    device (Optional[str]): see `BiGRUTagger`.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): vectors in, hidden states out.
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
