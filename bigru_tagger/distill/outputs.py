"""Distillation: a teacher's outputs in a file, and the way from there to `spacy train`."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from datasets import (  # type: ignore[import-untyped]
    ClassLabel,
    Dataset,
    Features,
    List,
    Value,
    concatenate_datasets,
)
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import Config
from tqdm import tqdm

from ..corpus.hub import without_progress_bars
from ..corpus.sentences import CorpusError, copy_tokens
from ..files import atomic_folder, atomic_path
from ..network.decoders import decoder_class
from ..pipeline.ner import biluo
from ..pipeline.soft_targets import SoftTargets, Teacher, check_settings
from ..schemes import biluo_tags, biluo_to_iob2, label_of

SETTINGS = "teacher.json"
"""The file, beside the dataset's own, that says how a teacher's outputs were made."""

TOKENS_PER_PART = 20_000  # what a stop may lose
_BATCH_SIZE = 1000
_TEXT_COLUMNS = ("tokens", "spaces", "sentence_starts", "ner_tags")

Row: TypeAlias = dict[str, Any]


# --- the file


def read_row(doc: Doc, *, gold: bool = True) -> Row:
    """Read what is stored of a text.

    doc (Doc): the text.
    gold (bool): whether its entities count as gold.
    RETURNS (dict[str, Any]): `tokens`; `spaces`, None where they are unknown; `sentence_starts`,
        None where there are none; and `ner_tags` in IOB2, "" where a token is not annotated, None
        where no token is.
    """
    tags = biluo(doc) if gold else []
    iob2 = ["" if tag is None else biluo_to_iob2(tag) for tag in tags]
    has_starts = doc.has_annotation("SENT_START")
    return {
        "tokens": [token.text for token in doc],
        "spaces": None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc],
        "sentence_starts": [token.is_sent_start for token in doc] if has_starts else None,
        "ner_tags": iob2 if any(iob2) else None,
    }


def make_doc(vocab: Vocab, row: Row) -> Doc:
    """Build the gold Doc of a row.

    vocab (Vocab): the vocabulary.
    row (dict[str, Any]): what `read_row` returned.
    RETURNS (Doc): the Doc.
    """
    return Doc(
        vocab,
        words=row["tokens"],
        spaces=row["spaces"],
        sent_starts=row["sentence_starts"],
        ents=row["ner_tags"],
    )


def make_bare_doc(vocab: Vocab, doc: Doc) -> Doc:
    """Copy what teacher and student may know: tokens, and where there are several sentences.

    vocab (Vocab): the vocabulary.
    doc (Doc): the gold Doc.
    RETURNS (Doc): the copy.
    """
    several = sum(token.is_sent_start is True for token in doc) > 1
    return copy_tokens(vocab, doc, doc if several else None)


def store_outputs(
    folder: Path,
    teacher: Callable[[], Teacher],
    rows: Callable[[], Iterable[Row]],
    *,
    settings: Mapping[str, Any],
    top_k: int,
) -> Dataset:
    """Ask a teacher about texts, once, and store what it says.

    What is finished is opened; what was stopped goes on where it was. The dataset that results has
    a row a text: the columns of `read_row`, `teacher_tags` (each token's `top_k` most probable
    tags, the best one first), and `teacher_probabilities`, whose sum is what these tags hold of 1.

    folder (Path): where the dataset goes, as by `save_to_disk`.
    teacher (Callable[[], Teacher]): loads the teacher; not called if nothing is missing.
    rows (Callable[[], Iterable[Row]]): reads the texts, from the first each time.
    settings (Mapping[str, Any]): what else the outputs depend on, such as the teacher's hash.
    top_k (int): tags to keep of each token.
    RETURNS (Dataset): the dataset.
    RAISES (ValueError): what is there is of another teacher, of other texts or settings, or
        something else; or a text has a gold label that the teacher does not know.
    """
    settings = {**settings, "top_k": top_k}
    if folder.exists():
        _check_settings(folder, settings)
        dataset = _open(folder)
        _check_texts(folder, dataset, rows())
        return dataset
    parts = folder.with_name(f"{folder.name}.parts")
    begun = any(parts.glob("[0-9]*"))
    if begun:
        _check_settings(parts, settings)
    loaded = teacher()
    n_texts = _survey(rows(), loaded)
    if not begun:
        _write_settings(parts, settings)
    with tqdm(total=n_texts, unit=" texts", desc="Teacher", disable=None) as progress:
        finished = _write_parts(parts, loaded, rows(), top_k, progress)
    with without_progress_bars(), atomic_folder(folder) as place:
        concatenate_datasets(list(map(_open, finished))).save_to_disk(str(place))
        _write_settings(place, settings)
    shutil.rmtree(parts)
    return _open(folder)


def _write_parts(
    parts: Path, teacher: Teacher, rows: Iterable[Row], top_k: int, progress: "tqdm[Any]"
) -> list[Path]:
    features = _features(biluo_tags(teacher.labels))
    folders = []
    for number, part in enumerate(_cut(rows)):
        folder = parts / f"{number:05}"
        if folder.exists():
            _check_texts(parts, _open(folder), part)
        else:
            taught = _teach(part, teacher, top_k)
            with without_progress_bars(), atomic_folder(folder) as place:
                Dataset.from_list(taught, features=features).save_to_disk(str(place))
        folders.append(folder)
        progress.update(len(part))
    return folders


def _survey(rows: Iterable[Row], teacher: Teacher) -> int:
    """Count texts. RAISES (ValueError): a gold label that the teacher does not know."""
    n_texts = 0
    for row in rows:
        n_texts += 1
        unknown = {label_of(tag) for tag in row["ner_tags"] or ()} - {"", *teacher.labels}
        if unknown:
            raise ValueError(
                f"The teacher knows {', '.join(teacher.labels)}, but the text "
                f"{' '.join(row['tokens'])[:60]!r} has entities of {', '.join(sorted(unknown))}. A "
                "student would learn both: take a teacher with the labels of the texts, rename "
                "its labels (--rename THIS=THAT), or leave the texts' entities out (--no-gold)"
            )
    return n_texts


def _cut(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(row["tokens"])
        if size >= TOKENS_PER_PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def _teach(rows: Sequence[Row], teacher: Teacher, top_k: int) -> list[Row]:
    vocab = Vocab()
    taught = []
    docs = [make_bare_doc(vocab, make_doc(vocab, row)) for row in rows]
    for row, probabilities in zip(rows, teacher(docs), strict=True):
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        kept = np.take_along_axis(probabilities, best, axis=1)
        outputs = {"teacher_tags": best.tolist(), "teacher_probabilities": kept.tolist()}
        taught.append({**row, **outputs})
    return taught


def _features(tags: Sequence[str]) -> Features:
    return Features(
        {
            "tokens": List(Value("string")),
            "spaces": List(Value("bool")),
            "sentence_starts": List(Value("bool")),
            "ner_tags": List(Value("string")),
            "teacher_tags": List(List(ClassLabel(names=list(tags)))),
            "teacher_probabilities": List(List(Value("float32"))),
        }
    )


def _open(folder: Path) -> Dataset:
    return Dataset.load_from_disk(str(folder))


def _write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    with atomic_path(folder / SETTINGS) as place:
        place.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    try:
        there = json.loads((folder / SETTINGS).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder}: this is no file of a teacher's outputs ({SETTINGS}: {error}): give another "
            "output folder, or take this one away"
        ) from error
    for name in sorted({*there, *settings}):
        if there.get(name) != settings.get(name):
            raise ValueError(
                f"{folder}: these are outputs with {name} = {there.get(name)}, not "
                f"{settings.get(name)}: give another output folder, or take this one away"
            )


def _check_texts(folder: Path, dataset: Dataset, rows: Iterable[Row]) -> None:
    known = dataset.select_columns(list(_TEXT_COLUMNS))
    for number, (there, row) in enumerate(zip_longest(known, rows)):
        if there != row:
            text = " ".join((row or there)["tokens"])[:60]
            raise ValueError(
                f"{folder}: these are outputs for other texts, from number {number + 1} on "
                f"({text!r}): give another output folder, or take this one away"
            )


# --- the reader


@registry.readers("bigru_tagger.DistilledCorpus.v1")
@dataclass
class DistilledCorpus:
    """Read a teacher's outputs as training examples, with gold entities where there are any.

    path (str): The dataset that `bigru-tagger distill` wrote.
    temperature (float): How much teacher and student are softened, see `SoftTargets`.
    weight (float): The teacher's share in the loss where there is gold as well.
    given_sentences (bool): Where a Doc has several sentences, let the pipeline know where they
        start. False where a component of the pipeline finds that out.
    limit (int): At most so many Docs; 0 for all.
    """

    path: str | Path
    _: KW_ONLY
    temperature: float = 2.0
    weight: float = 0.5
    given_sentences: bool = True
    limit: int = 0

    def __post_init__(self) -> None:
        check_settings(self.temperature, self.weight)
        if self.limit < 0:
            raise ValueError(f"limit must be 0 or more, not {self.limit}")

    @cached_property
    def dataset(self) -> Dataset:
        """RETURNS (Dataset): The rows, opened once.

        RAISES (CorpusError): There is no such dataset, or it is another kind of one.
        """
        try:
            dataset = _open(Path(self.path))
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"{self.path}: no dataset of a teacher's outputs: make it by `bigru-tagger "
                f"distill`, and check the path: {error}"
            ) from error
        missing = set(_features([])) - set(dataset.features)
        if missing:
            raise CorpusError(
                f"{self.path}: no teacher's outputs: the columns {', '.join(sorted(missing))} are "
                "missing; make the dataset by `bigru-tagger distill`"
            )
        return dataset

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the dataset, from its beginning each time.

        nlp (Language): Whose vocabulary the Docs get.
        YIELDS (Example): A bare Doc, and the gold Doc with the teacher's `SoftTargets`.
        RAISES (CorpusError): See `dataset`.
        """
        tags = tuple(self.dataset.features["teacher_tags"].feature.feature.names)
        for row in islice(self._rows(), self.limit or None):
            reference = make_doc(nlp.vocab, row)
            SoftTargets(
                tags,
                row["teacher_tags"],
                row["teacher_probabilities"],
                temperature=self.temperature,
                weight=self.weight,
            ).attach(reference)
            bare = make_bare_doc(nlp.vocab, reference)
            if not self.given_sentences:
                bare = copy_tokens(nlp.vocab, reference, None)
            yield Example(bare, reference)

    def _rows(self) -> Iterator[Row]:
        for table in self.dataset.with_format("arrow").iter(batch_size=_BATCH_SIZE):
            rows = table.select(_TEXT_COLUMNS).to_pylist()
            ends = np.cumsum([len(row["tokens"]) for row in rows])[:-1]
            for name in ("teacher_tags", "teacher_probabilities"):
                # As arrays, (n_tokens, k): as lists they would take most of the reading's time.
                column = table[name].combine_chunks()
                values = column.flatten().flatten().to_numpy(zero_copy_only=False)
                tokens = values.reshape(sum(len(row["tokens"]) for row in rows), -1)
                for row, part in zip(rows, np.split(tokens, ends), strict=True):
                    row[name] = part
            yield from rows


# --- the config


def check_student(config: Config) -> None:
    """Check that somebody can learn from a teacher.

    config (Config): the student's config.
    RAISES (ValueError): there is no `bigru_ner`, or its way of decoding learns whole sequences.
    """
    components = config.get("components", {})
    names = [name for name, block in components.items() if block.get("factory") == "bigru_ner"]
    sourced = any("source" in block for block in components.values())  # which may hold one
    if not names and not sourced:
        raise ValueError(
            'The student\'s config has no component with factory = "bigru_ner": a teacher of '
            f"entities has nobody to teach ({', '.join(components) or 'no components'})"
        )
    for name in names:
        decode = components[name].get("model", {}).get("decode", "constrained")
        if not decoder_class(decode).soft_labels:
            raise ValueError(
                f'[components.{name}.model] decode = "{decode}" learns whole sequences, but a '
                'teacher\'s outputs are for single tokens: set decode = "constrained"'
            )


def training_corpus(config: Config) -> dict[str, Any]:
    """Find the block of the training corpus.

    config (Config): a training config.
    RETURNS (dict[str, Any]): the block, which is made where there is none.
    """
    path = config["training"].get("train_corpus", "corpora.train")
    block: dict[str, Any] = config
    for name in path.split("."):
        block = block.setdefault(name, {})
    return block


def student_config(config: Config, path: Path, *, temperature: float, weight: float) -> Config:
    """Let a student learn from a teacher's outputs.

    config (Config): the student's config, not interpolated.
    path (Path): the teacher's outputs.
    temperature (float): see `DistilledCorpus`.
    weight (float): see `DistilledCorpus`.
    RETURNS (Config): the same but for the training corpus.
    RAISES (ValueError): settings out of range.
    """
    check_settings(temperature, weight)
    changed = config.copy()
    corpus = training_corpus(changed)
    settings = {
        "@readers": "bigru_tagger.DistilledCorpus.v1",
        "path": str(path),
        "temperature": temperature,
        "weight": weight,
        "given_sentences": corpus.get("given_sentences", True),
        "limit": 0,
    }
    corpus.clear()
    corpus.update(settings)
    return changed
