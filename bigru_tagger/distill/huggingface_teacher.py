"""A token-classification model of Hugging Face as a teacher, and its labels as BILUO."""

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
from ..schemes import BEGIN, BILUO_PARTS, LAST, OUTSIDE, UNIT

WINDOWS_AT_ONCE = 32
# Of the schemes that mark the ends of entities.
_FOUR_PARTS = [prefix for prefix, part in BILUO_PARTS.items() if part in (LAST, UNIT)]


class HuggingFaceTeacher:
    """A token-classification model of Hugging Face's `transformers`.

    Each sentence that a Doc tells is read by itself, and a Doc that tells none as one. A word's
    distribution is that of its first sub-word. A sentence longer than the model's maximum is read
    in windows that overlap by half or more, see `split_windows`; each word is judged in the one
    where it stands farthest from a cut. Words of which the tokenizer leaves nothing, such as a lone
    zero-width space, get no judgement.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        """Load the model.

        name (str): a folder, or a name on the hub.
        device (str): torch's name of the device.
        RAISES (TeacherError): it cannot be loaded, has no tokenizer that aligns words with
            sub-words, or its labels are not those of a tagger of entities.
        """
        # Here, since everything else works without it, and since it takes seconds.
        from transformers import (  # noqa: PLC0415
            AutoModelForTokenClassification,
            AutoTokenizer,
        )

        try:
            # Byte-level tokenizers need the setting for words, others do not know it.
            with quiet_unless_terminal():
                self._tokenizer = AutoTokenizer.from_pretrained(
                    name, add_prefix_space=True, trust_remote_code=False
                )
                model = AutoModelForTokenClassification.from_pretrained(
                    name, trust_remote_code=False
                )
        except (OSError, ValueError, ImportError) as error:
            raise TeacherError(
                f"{name}: neither a pipeline of spaCy's (a folder with config.cfg, such as "
                "output/model-best, or an installed package) nor a token-classification model of "
                "Hugging Face's that can be loaded (a folder with config.json, weights and "
                f"tokenizer, or a name on the hub). The reason: {reason_of(error)}"
            ) from error
        if not self._tokenizer.is_fast:
            raise TeacherError(
                f"{name}: its tokenizer does not tell which sub-words make a word: one that is "
                "fast (tokenizer.json) is needed"
            )
        self._model = model.to(device).eval()
        self.max_length = max_sub_words(model, self._tokenizer)
        names = model.config.id2label
        self._mapping = TagMapping.from_names([names[index] for index in range(len(names))], name)
        self.labels = self._mapping.labels

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        sentences = [sentence for doc in docs for sentence in _sentences(doc)]
        found = self._classify([[token.text for token in sentence] for sentence in sentences])
        nothing = np.zeros((0, 1 + 4 * len(self.labels)), np.float32)
        rows = np.concatenate([nothing, *(self._mapping(part) for part in found)])
        return np.split(rows, np.cumsum([len(doc) for doc in docs], dtype=np.int64))[:-1]

    def _classify(self, sentences: list[list[str]]) -> list[np.ndarray]:
        """Give each word's distribution over the model's own labels."""
        n_labels = len(self._model.config.id2label)
        found = [np.zeros((len(words), n_labels), np.float32) for words in sentences]
        if not sentences:
            return found
        encoded, places = self._encode(sentences)
        # Of like lengths together, so that little is padding.
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
                    found[place.sentence][place.word] = rows[place.position]
        return found

    def _encode(self, sentences: list[list[str]]) -> tuple[dict[str, Any], list[list["_Place"]]]:
        """Cut sentences into windows of sub-words, and find the words that each of them judges."""
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
    """The way from a model's labels to BILUO.

    Labels of IOBES or BILUO go one to one. Of the others, which tell B- and I- apart, or neither
    (a bare label counts as I-), entities are read as conlleval does, whether IOB1 or IOB2: of one
    label X, a token is the first of an entity if it is B-X, or if it is I-X behind no X; and the
    entity goes on if the next token is I-X. Tokens being judged one by one, that is
        s = P(B-X or I-X before),  c = P(I-X behind),  b = P(B-X) + P(I-X) (1 − s),  i = P(I-X) s
    and B = b c, U = b (1 − c), I = i c, L = i (1 − c). Of a model that is sure, so are these.

    labels (tuple[str, ...]): the labels.
    parts (tuple[tuple[int, str, int], ...]): for each output but O, its number, its prefix, and its
        label's number.
    outside (int): the output for O.
    """

    labels: tuple[str, ...]
    parts: tuple[tuple[int, str, int], ...]
    outside: int

    @classmethod
    def from_names(cls, names: Sequence[str], model: str) -> "TagMapping":
        """Read a model's labels.

        names (Sequence[str]): the name of each output.
        model (str): the model, for messages.
        RETURNS (TagMapping): the way to BILUO.
        RAISES (TeacherError): without O, or with prefixes at some labels only.
        """
        if OUTSIDE not in names or len(names) < 2:
            raise TeacherError(
                f"{model}: this is no tagger of entities: its labels have to be O and some others; "
                f"they are {', '.join(names)}"
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
                f"{', '.join(bare)}: give all one or none, in id2label of its config.json"
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

        distributions (ndarray): over the model's labels, rows of zeros where there is no
            judgement, float (n_tokens, n_outputs).
        RETURNS (ndarray): over `biluo_tags(labels)`, float32 (n_tokens, n_tags).
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
        behind = np.concatenate([inside[1:], nothing])
        first, later = begin + inside * (1.0 - before), inside * before
        by_label[:] = np.stack(
            [first * behind, later * behind, later * (1.0 - behind), first * (1.0 - behind)], 2
        )
        return mapped


def _sentences(doc: Doc) -> list[Span]:
    starts = sentence_starts(doc)
    return [doc[start:end] for start, end in pairwise([*starts, len(doc)])]
