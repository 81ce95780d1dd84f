"""A teacher's outputs as a dataset, and the corpus reader and config to train a student on it."""

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

from ..corpus.augment import augment
from ..corpus.hub import without_progress_bars
from ..corpus.sentences import CorpusError, copy_tokens
from ..decoding.decoders import decoder_class
from ..errors import ConfigError, DataError
from ..files import atomic_folder, atomic_path
from ..pipeline.ner import certain_biluo
from ..pipeline.soft_targets import SoftTargets, Teacher, check_settings
from ..schemes import biluo_tags, biluo_to_iob2, label_of

SETTINGS = "teacher.json"
"""The file in the dataset's folder with the settings of the teacher's outputs."""

TOKENS_PER_PART = 20_000  # the most that is lost if the process stops
_BATCH_SIZE = 1000
_TEXT_COLUMNS = ("tokens", "spaces", "sentence_starts", "ner_tags")

Row: TypeAlias = dict[str, Any]


# --- the dataset


def read_row(doc: Doc, *, gold: bool = True) -> Row:
    """Convert a Doc to a row of the dataset.

    doc (Doc): the Doc.
    gold (bool): whether to include the entities as gold annotation.
    RETURNS (dict[str, Any]): the row with the columns `tokens`, `spaces` (None if unknown),
        `sentence_starts` (None if not set) and `ner_tags` (IOB2 tags, "" for tokens that are not
        annotated, None if no token is). If only some labels are annotated, tokens outside of all
        entities count as not annotated.
    """
    tags = certain_biluo(doc) if gold else []
    iob2 = ["" if tag is None else biluo_to_iob2(tag) for tag in tags]
    has_starts = doc.has_annotation("SENT_START")
    return {
        "tokens": [token.text for token in doc],
        "spaces": None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc],
        "sentence_starts": [token.is_sent_start for token in doc] if has_starts else None,
        "ner_tags": iob2 if any(iob2) else None,
    }


def make_doc(vocab: Vocab, row: Row) -> Doc:
    """Create the gold Doc of a row.

    vocab (Vocab): the vocabulary.
    row (dict[str, Any]): the row, see `read_row`.
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
    """Copy a Doc without gold annotation, as input for the teacher and the student.

    vocab (Vocab): the vocabulary.
    doc (Doc): the gold Doc.
    RETURNS (Doc): a Doc with the same tokens. It has sentence boundaries if the gold Doc has
        several sentences.
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
    """Compute and save a teacher's outputs for texts.

    If the dataset already exists, it is opened. If an earlier run was interrupted, it is resumed.
    The dataset has one row per text with the columns of `read_row` and two others:
    `teacher_tags` contains the `top_k` most probable tags of each token, the most probable first,
    and `teacher_probabilities` their probabilities, which sum to at most 1.

    folder (Path): the folder of the dataset, in the format of `Dataset.save_to_disk`.
    teacher (Callable[[], Teacher]): loads the teacher. Not called if the dataset exists.
    rows (Callable[[], Iterable[Row]]): returns the rows of the texts, always from the first.
    settings (Mapping[str, Any]): other settings of the outputs, such as the teacher's hash.
    top_k (int): the number of tags per token.
    RETURNS (Dataset): the dataset.
    RAISES (ValueError): if the folder contains outputs of another teacher, other texts or other
        settings, or is no such dataset; or if a text has a gold label that the teacher does not
        have.
    """
    settings = {**settings, "top_k": top_k}
    if folder.exists():
        _check_settings(folder, settings)
        dataset = _open(folder)
        _check_texts(folder, dataset, rows())
        return dataset
    parts = folder.with_name(f"{folder.name}.parts")
    is_resumed = any(parts.glob("[0-9]*"))
    if is_resumed:
        _check_settings(parts, settings)
    loaded = teacher()
    n_texts = _count_texts(rows(), loaded)
    if not is_resumed:
        _write_settings(parts, settings)
    with tqdm(total=n_texts, unit=" texts", desc="Teacher", disable=None) as progress:
        finished = _write_parts(parts, loaded, rows(), top_k, progress)
    with without_progress_bars(), atomic_folder(folder) as temporary:
        concatenate_datasets(list(map(_open, finished))).save_to_disk(str(temporary))
        _write_settings(temporary, settings)
    shutil.rmtree(parts)
    return _open(folder)


def _write_parts(
    parts: Path, teacher: Teacher, rows: Iterable[Row], top_k: int, progress: "tqdm[Any]"
) -> list[Path]:
    features = _features(biluo_tags(teacher.labels))
    folders = []
    for number, part in enumerate(_split_parts(rows)):
        folder = parts / f"{number:05}"
        if folder.exists():
            _check_texts(parts, _open(folder), part)
        else:
            with_outputs = _add_outputs(part, teacher, top_k)
            with without_progress_bars(), atomic_folder(folder) as temporary:
                Dataset.from_list(with_outputs, features=features).save_to_disk(str(temporary))
        folders.append(folder)
        progress.update(len(part))
    return folders


def _count_texts(rows: Iterable[Row], teacher: Teacher) -> int:
    """Count texts. RAISES (ValueError): if the teacher does not have a gold label."""
    n_texts = 0
    for row in rows:
        n_texts += 1
        unknown = {label_of(tag) for tag in row["ner_tags"] or ()} - {"", *teacher.labels}
        if unknown:
            raise DataError(
                f"The teacher's labels are {', '.join(teacher.labels)}, but the text "
                f"{' '.join(row['tokens'])[:60]!r} has entities with other labels: "
                f"{', '.join(sorted(unknown))}. Use a teacher with the labels of the texts, rename "
                "the teacher's labels (--rename LABEL=NAME), or ignore the entities of the texts "
                "(--no-gold)"
            )
    return n_texts


def _split_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
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


def _add_outputs(rows: Sequence[Row], teacher: Teacher, top_k: int) -> list[Row]:
    vocab = Vocab()
    with_outputs = []
    docs = [make_bare_doc(vocab, make_doc(vocab, row)) for row in rows]
    for row, probabilities in zip(rows, teacher(docs), strict=True):
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        kept = np.take_along_axis(probabilities, best, axis=1)
        outputs = {"teacher_tags": best.tolist(), "teacher_probabilities": kept.tolist()}
        with_outputs.append({**row, **outputs})
    return with_outputs


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
    with atomic_path(folder / SETTINGS) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    try:
        stored = json.loads((folder / SETTINGS).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: the folder exists, but contains no teacher's outputs ({SETTINGS}: {error}):"
            " use another output folder or delete this one"
        ) from error
    for name in sorted({*stored, *settings}):
        if stored.get(name) != settings.get(name):
            raise DataError(
                f"{folder}: the existing outputs have {name} = {stored.get(name)}, not "
                f"{settings.get(name)}: use another output folder or delete this one"
            )


def _check_texts(folder: Path, dataset: Dataset, rows: Iterable[Row]) -> None:
    known = dataset.select_columns(list(_TEXT_COLUMNS))
    for number, (stored, row) in enumerate(zip_longest(known, rows), start=1):
        if stored != row:
            text = " ".join((row or stored)["tokens"])[:60]
            raise DataError(
                f"{folder}: the existing outputs are for other texts, starting with text {number} "
                f"({text!r}): use another output folder or delete this one"
            )


# --- the reader


@registry.readers("bigru_tagger.DistilledCorpus.v1")
@dataclass
class DistilledCorpus:
    """Read a teacher's outputs, and gold entities if there are any, as training examples.

    path (str | Path): The dataset, written by `bigru-tagger distill`.
    temperature (float): The temperature of the teacher's and the student's distributions in the
        loss, above 0, see `SoftTargets`.
    weight (float): The weight of the teacher in the loss of tokens with a gold tag, from 0 to 1.
    given_sentences (bool): Whether to set sentence boundaries on the predicted Docs with several
        sentences. Use False if a component of the pipeline sets them.
    limit (int): The maximum number of Docs; 0 for all.
    augmenter (Callable[..., Any] | None): A function of spaCy's registry `augmenters` that changes
        Examples, such as `bigru_tagger.CaseAugmenter.v1`. It must keep the tokens, and the
        teacher's outputs stay those of the original text.
    """

    path: str | Path
    _: KW_ONLY
    temperature: float = 2.0
    weight: float = 0.5
    given_sentences: bool = True
    limit: int = 0
    augmenter: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        check_settings(self.temperature, self.weight)
        if self.limit < 0:
            raise ConfigError(f"limit must be 0 or more, not {self.limit}")

    @cached_property
    def dataset(self) -> Dataset:
        """RETURNS (Dataset): The dataset, opened once.

        RAISES (CorpusError): If the dataset cannot be opened or lacks a column.
        """
        try:
            dataset = _open(Path(self.path))
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"{self.path}: cannot open the dataset of a teacher's outputs: check the path, or "
                f"create the dataset with `bigru-tagger distill`: {error}"
            ) from error
        missing = set(_features([])) - set(dataset.features)
        if missing:
            raise CorpusError(
                f"{self.path}: the dataset contains no teacher's outputs. Missing columns: "
                f"{', '.join(sorted(missing))}. Create the dataset with `bigru-tagger distill`"
            )
        return dataset

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the dataset from the first row.

        nlp (Language): The pipeline, for its vocabulary.
        YIELDS (Example): A Doc without annotation, and the gold Doc with `SoftTargets`.
        RAISES (CorpusError): See `dataset`.
        """
        yield from augment(self._examples(nlp), nlp, self.augmenter)

    def _examples(self, nlp: Language) -> Iterator[Example]:
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
                # Arrays, (n_tokens, k), because lists would take most of the time of reading.
                column = table[name].combine_chunks()
                values = column.flatten().flatten().to_numpy(zero_copy_only=False)
                tokens = values.reshape(sum(len(row["tokens"]) for row in rows), -1)
                for row, part in zip(rows, np.split(tokens, ends), strict=True):
                    row[name] = part
            yield from rows


# --- the config


def check_student(config: Config, *, gold: bool = True) -> None:
    """Check that a config can be used to train a student.

    config (Config): the student's config.
    gold (bool): whether the student also learns from gold entities of the texts.
    RAISES (ValueError): if the config has no `bigru_ner`, its decoder is trained on whole
        sequences, or its training corpus has settings that are not used for the texts.
    """
    components = config.get("components", {})
    names = [name for name, block in components.items() if block.get("factory") == "bigru_ner"]
    sourced = any("source" in block for block in components.values())  # may be a bigru_ner
    if not names and not sourced:
        raise DataError(
            'The student\'s config has no component with factory = "bigru_ner" to train. Its '
            f"components are: {', '.join(components) or 'none'}"
        )
    for name in names:
        decode = components[name].get("model", {}).get("decode", "constrained")
        if not decoder_class(decode).soft_labels:
            raise ConfigError(
                f'[components.{name}.model] decode = "{decode}" does not support a teacher\'s '
                'outputs: set decode = "constrained"'
            )
    corpus = training_corpus(config)
    unused = [name for name in ("rename", "annotated_labels") if gold and corpus.get(name)]
    if "corpora" in corpus:
        raise ConfigError(
            "The student's config joins several corpora, but the texts are those of the command: "
            "use a training corpus with one reader"
        )
    if unused:
        raise ConfigError(
            f"The student's training corpus has {' and '.join(unused)}, which `distill` does not "
            "use for its texts: write them with these settings by `bigru-tagger convert` first, or "
            "set --no-gold"
        )


def training_corpus(config: Config) -> dict[str, Any]:
    """Find the block of the training corpus, see `training.train_corpus`.

    config (Config): a training config, modified if the block does not exist.
    RETURNS (dict[str, Any]): the block, created if it does not exist.
    """
    path = config.get("training", {}).get("train_corpus", "corpora.train")
    block: dict[str, Any] = config
    for name in path.split("."):
        block = block.setdefault(name, {})
    return block


def student_config(config: Config, path: Path, *, temperature: float, weight: float) -> Config:
    """Replace the training corpus of a config by a teacher's outputs.

    config (Config): the student's config, not interpolated. It is not modified.
    path (Path): the dataset of the teacher's outputs.
    temperature (float): see `DistilledCorpus`.
    weight (float): see `DistilledCorpus`.
    RETURNS (Config): the changed config.
    RAISES (ValueError): if `temperature` or `weight` is out of range.
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
        "augmenter": corpus.get("augmenter"),
    }
    corpus.clear()
    corpus.update(settings)
    for block in changed.get("components", {}).values():
        # A teacher's probabilities include its own bias.
        if block.get("factory") == "bigru_ner" and block.get("recall_bias") is None:
            block["recall_bias"] = 0.0
    return changed
