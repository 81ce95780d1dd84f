"""Hugging Face token-classification models as teachers, and conversion of their labels to BILUO."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.tokens import Doc, Span

from ..corpus.sentences import sentence_starts
from ..network.transformer import SubWords, split_windows
from ..network.transformer_loading import max_sub_words, quiet_unless_terminal, reason_of
from ..pipeline.soft_targets import TeacherError
from ..schemes import OUTSIDE
from ..tag_arrays import BEGIN, BILUO_PARTS, LAST, UNIT

WINDOWS_AT_ONCE = 32
# Prefixes of schemes that mark the ends of entities: L, U, E and S.
_FOUR_PARTS = [prefix for prefix, part in BILUO_PARTS.items() if part in (LAST, UNIT)]


class HuggingFaceTeacher:
    """A teacher that uses a token-classification model of Hugging Face's `transformers`.

    The input of the model is single sentences. A Doc without sentence boundaries counts as one
    sentence. The distribution of a word is that of its first sub-word. Sentences longer than the
    model's maximum are split into windows that overlap by half or more, see `split_windows`. Each
    word is classified in the window where it is farthest from the edges. Words without sub-words,
    such as a zero-width space, have no prediction.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        """Load the model.

        name (str): a folder, or the name of a model on the Hugging Face hub.
        device (str): torch's device, such as "cuda:0".
        RAISES (TeacherError): if the model cannot be loaded, has no fast tokenizer, or its labels
            are not tags of entities, see `TagMapping.from_names`.
        """
        # Imported here, because the import takes seconds and the package is optional.
        from transformers import (  # noqa: PLC0415
            AutoModelForTokenClassification,
            AutoTokenizer,
        )

        try:
            # Byte-level tokenizers need `add_prefix_space` for words; others ignore it.
            with quiet_unless_terminal():
                self._tokenizer = AutoTokenizer.from_pretrained(
                    name, add_prefix_space=True, trust_remote_code=False
                )
                model = AutoModelForTokenClassification.from_pretrained(
                    name, trust_remote_code=False
                )
        except (OSError, ValueError, ImportError) as error:
            raise TeacherError(
                f"{name}: cannot load the teacher. It must be a spaCy pipeline (a folder with "
                "config.cfg, such as output/model-best, or an installed package) or a Hugging Face "
                "token-classification model (a folder with config.json, weights and tokenizer, or "
                f"a name on the hub). The reason: {reason_of(error)}"
            ) from error
        if not self._tokenizer.is_fast:
            raise TeacherError(
                f"{name}: the tokenizer does not align sub-words with words: a fast tokenizer "
                "(tokenizer.json) is required"
            )
        self._model = model.to(device).eval()
        self.max_length = max_sub_words(model, self._tokenizer)
        names = model.config.id2label
        self._mapping = TagMapping.from_names([names[index] for index in range(len(names))], name)
        self.labels = self._mapping.labels

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        sentences = [sentence for doc in docs for sentence in _sentences(doc)]
        distributions = self._classify(
            [[token.text for token in sentence] for sentence in sentences]
        )
        nothing = np.zeros((0, 1 + 4 * len(self.labels)), np.float32)
        rows = np.concatenate([nothing, *(self._mapping(part) for part in distributions)])
        return np.split(rows, np.cumsum([len(doc) for doc in docs], dtype=np.int64))[:-1]

    def _classify(self, sentences: list[list[str]]) -> list[np.ndarray]:
        """Predict a distribution over the model's labels for each word."""
        n_labels = len(self._model.config.id2label)
        distributions = [np.zeros((len(words), n_labels), np.float32) for words in sentences]
        if not sentences:
            return distributions
        encoded, places = self._encode(sentences)
        # Sorted by length, to minimize padding.
        order = sorted(range(len(places)), key=lambda i: len(encoded["input_ids"][i]))
        for begin in range(0, len(order), WINDOWS_AT_ONCE):
            windows = order[begin : begin + WINDOWS_AT_ONCE]
            inputs = self._tokenizer.pad(
                {key: [values[i] for i in windows] for key, values in encoded.items()},
                return_tensors="pt",
            ).to(self._model.device)
            with torch.inference_mode():
                logits = self._model(**inputs).logits.float()
            probabilities = logits.softmax(2).cpu().numpy()
            for window, rows in zip(windows, probabilities, strict=True):
                for place in places[window]:
                    distributions[place.sentence][place.word] = rows[place.position]
        return distributions

    def _encode(self, sentences: list[list[str]]) -> tuple[dict[str, Any], list[list["_Place"]]]:
        """Split sentences into windows of sub-words, and assign each word to one window."""
        encoded = self._tokenizer(sentences, is_split_into_words=True, verbose=False)
        inputs: dict[str, Any] = {key: [] for key in encoded}
        places = []
        for sentence, ids in enumerate(encoded["input_ids"]):
            text = SubWords.of(ids, encoded.word_ids(sentence))
            n_before, end = len(text.before), len(ids) - len(text.after)
            size = len(text.ids)
            if self.max_length is not None:
                size = min(size, self.max_length - n_before - len(text.after))
            for window in split_windows(len(text.ids), size, size // 2) if text.ids else []:
                inside = range(n_before + window.begin, n_before + window.end)
                kept = [*range(n_before), *inside, *range(end, len(ids))]
                for key, values in encoded.items():
                    inputs[key].append([values[sentence][i] for i in kept])
                places.append(
                    [
                        _Place(sentence, text.words[i], n_before + i - window.begin)
                        for i in range(window.first, window.stop)
                        if i == 0 or text.words[i] != text.words[i - 1]
                    ]
                )
        return inputs, places


class _Place(NamedTuple):
    sentence: int
    word: int
    position: int


@dataclass(frozen=True)
class TagMapping:
    """Maps distributions over a model's labels to distributions over BILUO tags.

    IOBES and BILUO labels are mapped one to one. The other schemes, IOB1, IOB2 and IO (labels
    without prefixes, which count as I-), follow conlleval's rules: a token starts an entity of
    label X if its tag is B-X, or if it is I-X and the previous token has neither B-X nor I-X. The
    entity continues if the next tag is I-X. With independent tokens, the probabilities are
        s = P(previous is B-X or I-X),  c = P(next is I-X),
        b = P(B-X) + P(I-X) (1 − s),  i = P(I-X) s,
        P(B) = b c,  P(U) = b (1 − c),  P(I) = i c,  P(L) = i (1 − c).
    If the model's probabilities are all 0 or 1, so are the mapped ones.

    labels (tuple[str, ...]): the entity labels.
    parts (tuple[tuple[int, str, int], ...]): for each output except O, its index, its prefix, and
        the index of its label.
    outside (int): the index of the output for O.
    """

    labels: tuple[str, ...]
    parts: tuple[tuple[int, str, int], ...]
    outside: int

    @classmethod
    def from_names(cls, names: Sequence[str], model: str) -> "TagMapping":
        """Create the mapping from a model's labels.

        names (Sequence[str]): the name of each output.
        model (str): the name of the model, for error messages.
        RETURNS (TagMapping): the mapping.
        RAISES (TeacherError): if there is no O, no other label, or if only some labels have a
            prefix.
        """
        if OUTSIDE not in names or len(names) < 2:
            raise TeacherError(
                f"{model}: not an entity tagger: the labels must be O and at least one other; they "
                f"are {', '.join(names)}"
            )
        others = [name for name in names if name != OUTSIDE]
        split = {name: name.split("-", 1) for name in others}
        prefixed = [
            len(part) == 2 and part[0] in BILUO_PARTS and part[1] != "" for part in split.values()
        ]
        if any(prefixed) and not all(prefixed):
            bare = [name for name, has in zip(others, prefixed, strict=True) if not has]
            raise TeacherError(
                f"{model}: some labels have a prefix such as B-, but these have none: "
                f"{', '.join(bare)}. Edit id2label in config.json so that all or none have one"
            )
        pairs = [split[name] if all(prefixed) else ["I", name] for name in others]
        labels = tuple(sorted({label for _, label in pairs}))
        parts = [
            (names.index(name), prefix, labels.index(label))
            for name, (prefix, label) in zip(others, pairs, strict=True)
        ]
        return cls(labels, tuple(parts), names.index(OUTSIDE))

    def __call__(self, distributions: np.ndarray) -> np.ndarray:
        """Map the distributions of one sequence.

        distributions (ndarray): distributions over the model's labels, float
            (n_tokens, n_outputs). A row of zeros is a token without a prediction.
        RETURNS (ndarray): distributions over `biluo_tags(labels)`, float32 (n_tokens, n_tags).
        """
        mapped = np.zeros((len(distributions), 1 + 4 * len(self.labels)), np.float32)
        mapped[:, 0] = distributions[:, self.outside]
        by_label = mapped[:, 1:].reshape(len(mapped), len(self.labels), 4)
        if any(prefix in _FOUR_PARTS for _, prefix, _ in self.parts):
            for output, prefix, label in self.parts:
                by_label[:, label, BILUO_PARTS[prefix]] = distributions[:, output]
            return mapped
        begin, inside = np.zeros((2, len(mapped), len(self.labels)), np.float32)
        for output, prefix, label in self.parts:
            (begin if BILUO_PARTS[prefix] == BEGIN else inside)[:, label] = distributions[:, output]
        nothing = np.zeros((min(1, len(mapped)), len(self.labels)), np.float32)
        before = np.concatenate([nothing, (begin + inside)[:-1]])
        after = np.concatenate([inside[1:], nothing])
        first, later = begin + inside * (1.0 - before), inside * before
        by_label[:] = np.stack(
            [first * after, later * after, later * (1.0 - after), first * (1.0 - after)], 2
        )
        return mapped


def _sentences(doc: Doc) -> list[Span]:
    starts = sentence_starts(doc)
    return [doc[start:end] for start, end in pairwise([*starts, len(doc)])]
