"""A Hugging Face tokenizer that splits texts with a spaCy tokenizer, with one id per token."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_model_from_config
from transformers import BatchEncoding, PreTrainedTokenizerBase
from transformers.utils import PaddingStrategy

from ..errors import ConfigError, DataError, ModelError
from ..files import atomic_path
from ..runtime import storage
from .files import loading_from

CHARACTERS = "characters"
SENTENCE_STARTS = "sentence_starts"
_FILE = "spacy_tokenizer"
PAD_ID = 0  # spaCy's hash of the empty string, which is never a token


@dataclass(frozen=True)
class WordEncoding:
    """The encoding of one text, for `BatchEncoding.word_ids` and similar methods.

    tokens (list[str]): the text of each token.
    word_ids (list[int | None]): the index of each token, since each token is a word; None for
        padding.
    sequence_ids (list[int | None]): 0 for each token, since pairs are not supported; None for
        padding.
    n_sequences (int): always 1.
    """

    tokens: list[str]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    n_sequences: int = 1


class WordTokenizer(PreTrainedTokenizerBase):
    """Split texts into the tokens of a spaCy pipeline, and encode the characters of the tokens.

    The ids are spaCy's 64-bit hashes of the tokens, so there is no vocabulary and no unknown token.
    A model cannot convert hashes to words. So the output also contains the characters of the
    tokens, see `encode_characters`. Whitespace tokens of spaCy are tokens here too.
    """

    vocab_files_names = {"spacy_file": _FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask", CHARACTERS]  # noqa: RUF012

    def __init__(
        self,
        spacy_file: str | None = None,
        *,
        lang: str = "en",
        tokenizer: Mapping[str, Any] | None = None,
        checksum: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the tokenizer of a language, and load the rules of a saved tokenizer.

        spacy_file (str | None): a file written by spaCy's tokenizer; None for the default rules of
            the language.
        lang (str): the language code of spaCy.
        tokenizer (Mapping[str, Any] | None): the block `[nlp.tokenizer]` of a spaCy config; None
            for the default of the language.
        checksum (str | None): the checksum of all this; None if there is none.
        **kwargs (Any): arguments of `PreTrainedTokenizerBase`, such as `model_max_length`.
        RAISES (ValueError): if spaCy cannot build the tokenizer, or the file is not a file of a
            spaCy tokenizer.
        """
        self.lang = lang
        self.tokenizer = None if tokenizer is None else dict(tokenizer)
        config: dict[str, Any] = {"nlp": {"lang": lang}}
        if self.tokenizer is not None:
            config["nlp"]["tokenizer"] = self.tokenizer
        self.nlp = load_model_from_config(config, auto_fill=True)
        if spacy_file is not None:
            data = Path(spacy_file).read_bytes()
            advice = "If it was changed on purpose, remove 'checksum' from tokenizer_config.json"
            storage.check(checksum, self._checksum(data), "the tokenizer", advice)
            try:
                self.rules.from_bytes(data)
            except Exception as error:  # spaCy and msgpack raise many types
                raise ModelError(
                    f"{spacy_file} is not a file of a spaCy tokenizer: {error}: convert or "
                    "download the model again"
                ) from error
        elif checksum is not None:
            raise ModelError(f"the tokenizer's file {_FILE!r} is missing: download the model again")
        kwargs = {"pad_token": "[PAD]", **kwargs}
        super().__init__(lang=lang, tokenizer=self.tokenizer, checksum=checksum, **kwargs)

    def _checksum(self, rules: bytes) -> str:
        return storage.checksum([rules, json.dumps([self.lang, self.tokenizer]).encode()])

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a tokenizer, see `transformers.PreTrainedTokenizerBase.from_pretrained`.

        source (str | Path): a folder, or the name of a repository.
        *args, **kwargs (Any): the arguments of that method.
        RETURNS (WordTokenizer): the tokenizer.
        RAISES (ModelError): if a file is damaged or has changed since it was saved. (OSError): if
            the folder or repository does not exist.
        """
        kwargs["trust_remote_code"] = False
        try:
            with loading_from(source):
                return super().from_pretrained(source, *args, **kwargs)
        except ImportError as error:
            # transformers 4 imports protobuf to classify the error that it caught.
            if isinstance(error.__context__, ValueError):
                raise error.__context__ from None
            raise

    @classmethod
    def from_spacy(cls, nlp: Language) -> "WordTokenizer":
        """Create a tokenizer from a pipeline.

        nlp (Language): the pipeline.
        RETURNS (WordTokenizer): a tokenizer that splits texts into the same tokens.
        RAISES (ValueError): if the tokenizer of the pipeline cannot be saved.
        """
        if not hasattr(nlp.tokenizer, "to_bytes"):
            raise ModelError(
                f"the tokenizer of the pipeline, a {type(nlp.tokenizer).__name__}, cannot be "
                "saved: implement its methods to_bytes and from_bytes"
            )
        config = nlp.config.interpolate()["nlp"]
        copy = cls(lang=config["lang"], tokenizer=config["tokenizer"])
        rules: Any = nlp.tokenizer
        copy.rules.from_bytes(rules.to_bytes(exclude=["vocab"]))
        return copy

    @property
    def rules(self) -> Any:
        """RETURNS (Tokenizer): spaCy's tokenizer."""
        return self.nlp.tokenizer

    @property
    def is_fast(self) -> bool:
        """RETURNS (bool): always True, since offsets and word ids are supported."""
        return True

    @property
    def _tokenizer(self) -> SimpleNamespace:
        # The token-classification pipeline reads the prefix of word pieces from here. Without a
        # prefix, its strategies "first", "average" and "max" treat each token without a preceding
        # space as a word piece. With a prefix, a token is a word piece only if its length differs
        # from that of its text, which never happens here.
        return SimpleNamespace(model=SimpleNamespace(continuing_subword_prefix="##"))

    @property
    def vocab_size(self) -> int:
        """RETURNS (int): the number of strings in the string store of the vocab."""
        return len(self.nlp.vocab.strings)

    def __len__(self) -> int:
        """Get the vocabulary size.

        RETURNS (int): see `vocab_size`.
        """
        return self.vocab_size

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """RETURNS (dict[int, Any]): always empty, since any token has an id."""
        return {}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """RETURNS (dict[str, int]): always empty, since any token has an id."""
        return {}

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """Convert tokens to ids.

        tokens (str | Sequence[str]): one token or several.
        RETURNS (int | list[int]): the spaCy hash of each token, as a signed 64-bit integer.
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        if tokens == self.pad_token:
            return PAD_ID
        return int(np.uint64(self.nlp.vocab.strings.add(tokens)).astype(np.int64))

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Convert ids to tokens.

        ids (int | Sequence[int]): one id or several.
        skip_special_tokens (bool): whether to leave out padding.
        RETURNS (str | list[str]): the token of each id.
        RAISES (KeyError): if an id is not in the string store, because another tokenizer created
            it.
        """
        if np.ndim(ids) == 0:
            number = int(ids)
            if number == PAD_ID:
                return self.pad_token
            return self.nlp.vocab.strings[number % (1 << 64)]
        kept = (int(number) for number in ids)
        return [
            self.convert_ids_to_tokens(number)
            for number in kept
            if not (skip_special_tokens and number == PAD_ID)
        ]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens with single spaces, which may differ from the original text.

        tokens (list[str]): the tokens.
        RETURNS (str): the joined text.
        """
        return " ".join(tokens)

    def get_vocab(self) -> dict[str, int]:
        """Get the strings in the string store of the vocab.

        RETURNS (dict[str, int]): the id of each string.
        """
        return {text: self.convert_tokens_to_ids(text) for text in self.nlp.vocab.strings}

    def tokenize(self, text: str, pair: str | None = None, **kwargs: Any) -> list[str]:
        """Split a text.

        text (str): the text.
        pair (str | None): must be None.
        **kwargs (Any): ignored.
        RETURNS (list[str]): its tokens.
        RAISES (ValueError): if `pair` is not None.
        """
        _refuse_pair(pair)
        return [token.text for token in self.nlp.make_doc(text)]

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Save it, see `transformers.PreTrainedTokenizerBase.save_pretrained`.

        *args, **kwargs (Any): the arguments of that method.
        RETURNS (tuple[str, ...]): the files.
        """
        self.init_kwargs["checksum"] = self._checksum(self.rules.to_bytes(exclude=["vocab"]))
        return super().save_pretrained(*args, **kwargs)

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the file of the spaCy tokenizer.

        save_directory (str): the output folder.
        filename_prefix (str | None): a prefix of the file name.
        RETURNS (tuple[str, ...]): the path of the file.
        """
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / f"{prefix}{_FILE}"
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.rules.to_bytes(exclude=["vocab"]))
        return (str(path),)

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: Any = None,
        max_length: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        # transformers 5 encodes single texts and batches with this method, transformers 4 encodes
        # batches with `_batch_encode_plus`.
        _refuse_pair(text_pair)
        if return_overflowing_tokens:
            raise ConfigError(
                "overlapping windows are not supported: leave out return_overflowing_tokens and "
                "stride; the model reads texts of any length"
            )
        is_batch = isinstance(text, list | tuple)
        if is_split_into_words:
            is_batch = is_batch and bool(text) and isinstance(text[0], list | tuple)
        docs = [self._make_doc(one, is_split_into_words) for one in (text if is_batch else [text])]
        cut = None if truncation_strategy in (None, False) else max_length
        if getattr(truncation_strategy, "value", truncation_strategy) == "do_not_truncate":
            cut = None
        rows = [[*self._cut(list(doc), cut)] for doc in docs]
        texts = [[token.text for token in row] for row in rows]
        columns: dict[str, Any] = {
            "input_ids": [self.convert_tokens_to_ids(words) for words in texts],
            "attention_mask": [[1] * len(words) for words in texts],
            CHARACTERS: [encode_characters(words) for words in texts],
        }
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [[0] * len(words) for words in texts]
        if return_offsets_mapping:
            columns["offset_mapping"] = [
                [
                    (0, len(token)) if is_split_into_words else (token.idx, token.idx + len(token))
                    for token in row
                ]
                for row in rows
            ]
        if return_length:
            columns["length"] = [len(words) for words in texts]
        if padding_strategy != PaddingStrategy.DO_NOT_PAD:
            columns = dict(
                self.pad(
                    columns,
                    padding=padding_strategy,
                    max_length=max_length,
                    pad_to_multiple_of=pad_to_multiple_of,
                    padding_side=padding_side,
                )
            )
        encodings = [
            _describe(words, mask)
            for words, mask in zip(texts, columns["attention_mask"], strict=True)
        ]
        if return_attention_mask is False:
            del columns["attention_mask"]
        if return_tensors is not None:
            columns = {name: _to_array(name, rows) for name, rows in columns.items()}
        elif not is_batch:
            columns = {name: rows[0] for name, rows in columns.items()}
        return BatchEncoding(columns, encodings, tensor_type=return_tensors)

    def _batch_encode_plus(self, batch_text_or_text_pairs: Any, **kwargs: Any) -> BatchEncoding:
        return self._encode_plus(list(batch_text_or_text_pairs), **kwargs)

    def _make_doc(self, text: Any, is_split_into_words: bool) -> Doc:
        if not is_split_into_words:
            return self.nlp.make_doc(text)
        if isinstance(text, str) or "" in text:
            raise DataError(
                f"is_split_into_words = True requires lists of words, none of them empty; got "
                f"{text!r}"
            )
        return Doc(self.nlp.vocab, words=list(text))

    def _cut(self, tokens: list[Any], max_length: int | None) -> list[Any]:
        if max_length is None or len(tokens) <= max_length:
            return tokens
        if self.truncation_side == "left":
            return tokens[len(tokens) - max_length :]
        return tokens[:max_length]

    def pad(self, encoded_inputs: Any, *args: Any, **kwargs: Any) -> BatchEncoding:
        """Pad encoded texts, see `transformers.PreTrainedTokenizerBase.pad`.

        encoded_inputs (Mapping[str, Any] | list[Mapping[str, Any]]): outputs of this tokenizer.
        *args, **kwargs (Any): the other arguments of that method.
        RETURNS (BatchEncoding): the padded inputs.
        """
        if isinstance(encoded_inputs, list | tuple):
            names = encoded_inputs[0]
            encoded_inputs = {name: [one[name] for one in encoded_inputs] for name in names}
        inputs = dict(encoded_inputs)
        rows = inputs.get(CHARACTERS)
        if rows is not None and len(rows) and np.ndim(rows[0]) == 1:
            width = max(map(len, rows))
            inputs[CHARACTERS] = [[*map(int, row), *[0] * (width - len(row))] for row in rows]
        batch: BatchEncoding = super().pad(inputs, *args, **kwargs)
        for name, values in batch.items():
            # torch converts empty lists to float tensors.
            if isinstance(values, torch.Tensor) and values.is_floating_point():
                batch[name] = values.long()
        return batch

    def _pad(self, encoded_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        n_tokens = len(encoded_inputs["input_ids"])
        side = kwargs.get("padding_side") or self.padding_side
        padded = super()._pad(encoded_inputs, *args, **kwargs)
        n_added = len(padded["input_ids"]) - n_tokens
        for name, value in (("offset_mapping", (0, 0)), (SENTENCE_STARTS, 0)):
            if name in padded:
                added = [value] * n_added
                values = list(padded[name])
                padded[name] = added + values if side == "left" else values + added
        return padded

    def _decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> str:
        tokens = self.convert_ids_to_tokens(np.atleast_1d(token_ids), skip_special_tokens)
        return self.convert_tokens_to_string(tokens)


def encode_characters(words: Sequence[str]) -> list[int]:
    """Encode the characters of words as numbers.

    words (Sequence[str]): non-empty words.
    RETURNS (list[int]): the code point plus 1 of each character, and a 0 after each word.
    """
    return [number for word in words for number in (*(ord(char) + 1 for char in word), 0)]


def decode_characters(numbers: np.ndarray) -> list[str]:
    """Decode words from the output of `encode_characters`.

    numbers (ndarray): the numbers, with any number of zeros as padding, int (n_numbers,).
    RETURNS (list[str]): the words.
    """
    used = numbers > 0
    begins = np.flatnonzero(used & ~np.append(False, used[:-1]))
    ends = np.flatnonzero(used & ~np.append(used[1:], False)) + 1
    text = (numbers.astype(np.uint32) - used).tobytes().decode("utf-32-le", "surrogatepass")
    return [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def _describe(words: list[str], mask: list[int]) -> WordEncoding:
    numbers = np.cumsum(mask) - 1
    word_ids = [int(number) if used else None for number, used in zip(numbers, mask, strict=True)]
    return WordEncoding(
        tokens=words, word_ids=word_ids, sequence_ids=[None if n is None else 0 for n in word_ids]
    )


def _to_array(name: str, rows: Any) -> np.ndarray:
    if len({np.shape(row)[:1] for row in rows}) > 1:
        raise ConfigError(
            f"{name}: texts of different lengths do not fit a tensor: set padding = True"
        )
    array = np.array(rows, dtype=np.int64)
    return array.reshape(len(rows), -1, 2) if name == "offset_mapping" else array


def _refuse_pair(pair: Any) -> None:
    if pair is not None:
        raise ConfigError("pairs of texts are not supported: pass single texts")
