"""The Hugging Face tokenizer of our models: a pipeline's spaCy tokenizer, one id per token."""

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

from ..files import atomic_path

CHARACTERS = "characters"
SENTENCE_STARTS = "sentence_starts"
_FILE = "spacy_tokenizer"
PAD_ID = 0  # spaCy's hash of no text, which no token has


@dataclass(frozen=True)
class WordEncoding:
    """What `BatchEncoding.word_ids` and its like tell of one text; None at padding.

    tokens (List[str]): text of each token.
    word_ids (List[Optional[int]]): number of each token's word: the token is the word.
    sequence_ids (List[Optional[int]]): 0, since there are no pairs of texts.
    n_sequences (int): 1.
    """

    tokens: list[str]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    n_sequences: int = 1


class WordTokenizer(PreTrainedTokenizerBase):
    """Splits texts as a spaCy pipeline does, and hands the model the tokens' characters.

    Its ids are spaCy's 64-bit hashes of the tokens, so there is no vocabulary, and nothing is
    unknown. A model cannot turn a hash back into a word, so the tokens' characters go along,
    see `encode_characters`. White space that spaCy makes a token of is one here, too.
    """

    vocab_files_names = {"spacy_file": _FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask", CHARACTERS]  # noqa: RUF012

    def __init__(
        self,
        spacy_file: str | None = None,
        *,
        lang: str = "en",
        tokenizer: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the tokenizer of a language, and load what a pipeline changed in it.

        spacy_file (Optional[str]): a file that spaCy's tokenizer wrote; None for the language's.
        lang (str): spaCy's code of the language.
        tokenizer (Optional[Mapping[str, Any]]): the block `[nlp.tokenizer]` of a spaCy config; None
            for the language's.
        **kwargs: those of every tokenizer, such as `model_max_length`.
        RAISES (ValueError): if spaCy cannot build it, or the file is none of its tokenizer's.
        """
        self.lang = lang
        self.tokenizer = None if tokenizer is None else dict(tokenizer)
        config: dict[str, Any] = {"nlp": {"lang": lang}}
        if self.tokenizer is not None:
            config["nlp"]["tokenizer"] = self.tokenizer
        self.nlp = load_model_from_config(config, auto_fill=True)
        if spacy_file is not None:
            data = Path(spacy_file).read_bytes()
            try:
                self.rules.from_bytes(data)
            except Exception as error:  # spaCy and msgpack raise a dozen kinds
                raise ValueError(
                    f"{spacy_file} is no file of a spaCy tokenizer: {error}"
                ) from error
        kwargs = {"pad_token": "[PAD]", **kwargs}
        super().__init__(lang=lang, tokenizer=self.tokenizer, **kwargs)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a tokenizer, see `transformers.PreTrainedTokenizerBase.from_pretrained`.

        *args, **kwargs: see there.
        RETURNS (WordTokenizer): the tokenizer.
        RAISES (ValueError): if its file is damaged. (OSError): if it is not there.
        """
        try:
            return super().from_pretrained(*args, **kwargs)
        except ImportError as error:
            # transformers 4 asks for protobuf to tell what error it caught.
            if isinstance(error.__context__, ValueError):
                raise error.__context__ from None
            raise

    @classmethod
    def from_spacy(cls, nlp: Language) -> "WordTokenizer":
        """Take the tokenizer of a pipeline.

        nlp (Language): the pipeline.
        RETURNS (WordTokenizer): one that splits texts as it does.
        RAISES (ValueError): if the pipeline's tokenizer cannot be saved.
        """
        if not hasattr(nlp.tokenizer, "to_bytes"):
            raise ValueError(
                f"the tokenizer of the pipeline, a {type(nlp.tokenizer).__name__}, cannot be "
                "saved: give it the methods to_bytes and from_bytes"
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
        """RETURNS (bool): True: it tells offsets and words, as those of `tokenizers` do."""
        return True

    @property
    def _tokenizer(self) -> SimpleNamespace:
        # The token classification pipeline looks here for the prefix of word pieces. Without one,
        # its strategies "first", "average" and "max" take each token with no blank before it for
        # a piece. With one, only tokens that differ in length from their text are pieces: none.
        return SimpleNamespace(model=SimpleNamespace(continuing_subword_prefix="##"))

    @property
    def vocab_size(self) -> int:
        """RETURNS (int): the number of strings seen so far."""
        return len(self.nlp.vocab.strings)

    def __len__(self) -> int:
        """Count the strings seen so far.

        RETURNS (int): their number.
        """
        return self.vocab_size

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """RETURNS (Dict): nothing: any token has its id already."""
        return {}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """RETURNS (Dict): nothing: any token has its id already."""
        return {}

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """Give the ids of tokens.

        tokens (Union[str, Sequence[str]]): a token, or several.
        RETURNS (Union[int, List[int]]): spaCy's hash as a signed number, or a list of them.
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        if tokens == self.pad_token:
            return PAD_ID
        return int(np.uint64(self.nlp.vocab.strings.add(tokens)).astype(np.int64))

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Give the tokens of ids that this object, or the file it came from, knows.

        ids (Union[int, Sequence[int]]): an id, or several.
        skip_special_tokens (bool): leave padding out.
        RETURNS (Union[str, List[str]]): a token, or a list of them.
        RAISES (KeyError): if an id was given out by another tokenizer.
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
        """Join tokens by blanks; where the text had them, offsets tell.

        tokens (List[str]): the tokens.
        RETURNS (str): a text.
        """
        return " ".join(tokens)

    def get_vocab(self) -> dict[str, int]:
        """Give the strings seen so far.

        RETURNS (Dict[str, int]): their ids.
        """
        return {text: self.convert_tokens_to_ids(text) for text in self.nlp.vocab.strings}

    def tokenize(self, text: str, pair: str | None = None, **kwargs: Any) -> list[str]:
        """Split a text.

        text (str): the text.
        pair (Optional[str]): has to be None.
        RETURNS (List[str]): its tokens.
        """
        _refuse_pair(pair)
        return [token.text for token in self.nlp.make_doc(text)]

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the file of spaCy's tokenizer.

        save_directory (str): the folder.
        filename_prefix (Optional[str]): what the file's name begins with.
        RETURNS (Tuple[str]): the file.
        """
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / f"{prefix}{_FILE}"
        with atomic_path(path) as place:
            place.write_bytes(self.rules.to_bytes(exclude=["vocab"]))
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
        # What all ways to encode come to, in transformers 5; 4 has `_batch_encode_plus` beside it.
        _refuse_pair(text_pair)
        if return_overflowing_tokens:
            raise ValueError("texts of any length are read whole: leave 'stride' out")
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
            raise ValueError(
                f"is_split_into_words = True takes lists of words, none of them empty; got {text!r}"
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

        encoded_inputs (Union[Mapping, List[Mapping]]): what this tokenizer returned.
        *args, **kwargs: see there.
        RETURNS (BatchEncoding): the same, padded.
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
            # torch takes an empty list for one of floats.
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
    """Write words as numbers.

    words (Sequence[str]): words, none of them empty.
    RETURNS (List[int]): each character's code point plus 1, and a 0 behind each word.
    """
    return [number for word in words for number in (*(ord(char) + 1 for char in word), 0)]


def decode_characters(numbers: np.ndarray) -> list[str]:
    """Read words that `encode_characters` wrote.

    numbers (ndarray): the numbers, and any more zeros as padding, int (n_numbers,).
    RETURNS (List[str]): the words.
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
        raise ValueError(f"{name}: texts of different lengths make no tensor: set padding = True")
    array = np.array(rows, dtype=np.int64)
    return array.reshape(len(rows), -1, 2) if name == "offset_mapping" else array


def _refuse_pair(pair: Any) -> None:
    if pair is not None:
        raise ValueError("this model tags texts, not pairs of texts")
