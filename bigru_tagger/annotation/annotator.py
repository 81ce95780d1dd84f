"""Annotate batches of columns, for engines that send batches to worker processes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from ..corpus.fingerprint import fingerprint
from ..errors import ConfigError, DataError, InputError
from ..model.devices import use_threads
from ..scoring.loading import confidence_attributes, load_pipeline, setters_of, setting_paths
from ..tasks import CHUNKS, ENTITIES, TAGS, Task, span_key

Value = str | Sequence[str]
"""A text, or the tokens of a text."""

Output = TypeVar("Output")

_TEXT, _TOKENS = "text", "tokens"
_SPARK_TYPES = {"int64": "bigint", "float64": "double", "str": "string"}


class _Layer(NamedTuple):
    """Spans of one kind, and the prefix of their columns."""

    task: Task
    prefix: str
    has_confidence: bool


class _Loaded(NamedTuple):
    """A pipeline, and what it writes."""

    nlp: Language
    attributes: tuple[str, ...]
    layers: tuple[_Layer, ...]
    tags: bool
    lock: Lock


class Annotator:
    """Annotates batches of texts or tokens with a pipeline.

    An object is a function from a batch of columns to the same columns with the annotation added.
    `Dataset.map` of `datasets`, `map_batches` of Ray Data, `mapInPandas` of Spark and
    `map_partitions` of Dask call it in their worker processes. It is pickled as a path and
    settings, without the pipeline, which each process loads once, when it is first used.

    These columns are added; each row holds an array:

    - `start`, `end`, `label`, `confidence`: the entities. Positions are characters of a text, or
      indices of given tokens; `end` is exclusive. `confidence` is left out if no component has
      probabilities, and NaN where an entity has none.
    - `tags_start`, `tags_end`, `tags`: each token and its tag.
    - `chunks_start`, `chunks_end`, `chunks_label`, `chunks_confidence`: the spans in
      `doc.spans["chunks"]`; and so for each other key.

    Only the columns of annotation that the pipeline sets are added.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        column: str | None = None,
        batch_size: int | None = None,
        threads: int | None = 1,
        device: str | None = None,
        prefix: str = "",
        keep: Sequence[str] | None = None,
        on_error: Literal["raise", "column"] = "raise",
    ) -> None:
        """Store the settings. The pipeline is not loaded.

        model (str | Path): A folder, which all machines must find at this path, or the name of an
            installed package.
        column (str | None): The column of texts (strings) or tokens (lists of strings); None for
            "tokens" if there is such a column, and "text" otherwise.
        batch_size (int | None): Docs per batch of the pipeline; None for its own setting. The
            vocabulary is freed after each batch, see `Language.memory_zone`.
        threads (int | None): Threads of NumPy and PyTorch; None leaves them as they are.
        device (str | None): torch's device, see `load_pipeline`.
        prefix (str): A prefix for the names of the added columns.
        keep (Sequence[str] | None): The columns of the input to return; None for all.
        on_error (Literal["raise", "column"]): What to do with a row that cannot be annotated, such
            as one without a text: raise an error, or describe it in the added column `error`, with
            None in the other added columns. `error` is None in the other rows.
        RAISES (ValueError): `model` is an absolute path that does not exist, or a setting has an
            invalid value.
        """
        if on_error not in ("raise", "column"):
            raise ConfigError(f'on_error={on_error!r}: use "raise" or "column"')
        for name, value in (("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value}: use a number above 0, or None")
        path = Path(model)
        # Workers can have another working directory.
        self.model = str(path.resolve()) if path.exists() else str(model)
        self.fingerprint = fingerprint(self.model)
        self.column = column
        self.batch_size = batch_size
        self.threads = threads
        self.device = device
        self.prefix = prefix
        self.keep = None if keep is None else list(keep)
        self.on_error = on_error

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    @property
    def nlp(self) -> Language:
        """The pipeline, which is loaded if it is not yet in this process."""
        return self._load().nlp

    @property
    def columns(self) -> dict[str, str]:
        """The added columns of arrays, with the type of their values: int64, float64 or str."""
        loaded = self._load()
        types: dict[str, str] = {}
        for layer in loaded.layers:
            types |= {f"{layer.prefix}start": "int64", f"{layer.prefix}end": "int64"}
            types[f"{layer.prefix}label"] = "str"
            if layer.has_confidence:
                types[f"{layer.prefix}confidence"] = "float64"
        if loaded.tags:
            types |= {"tags_start": "int64", "tags_end": "int64", "tags": "str"}
        return {f"{self.prefix}{name}": of for name, of in types.items()}

    def spark_schema(self, schema: Any) -> str:
        """Build the schema that `mapInPandas` requires.

        schema (pyspark.sql.types.StructType): The schema of the input.
        RETURNS (str): The schema of the output, in Spark's DDL.
        """
        types = {
            field.name: field.dataType.simpleString()
            for field in schema.fields
            if self.keep is None or field.name in self.keep
        }
        types |= {name: f"array<{_SPARK_TYPES[of]}>" for name, of in self.columns.items()}
        if self.on_error == "column":
            types[self.error_column] = "string"
        return ", ".join(f"`{name}` {of}" for name, of in types.items())

    @overload
    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]: ...

    @overload
    def __call__(self, batch: Any) -> Any: ...

    def __call__(self, batch: Any) -> Any:
        """Annotate a batch.

        batch (Any): The columns: a mapping from names to lists or arrays, a pandas DataFrame, or an
            iterable of DataFrames.
        RETURNS (Any): The columns `keep` of the batch and the added ones: a dict, a DataFrame, or
            an iterator of DataFrames.
        RAISES (ValueError): The batch has no column of texts or tokens, already has one of the
            added columns, or has a row that cannot be annotated (see `on_error`).
        """
        if isinstance(batch, Mapping):
            added = self._annotate_columns(batch, list(batch))
            if any(isinstance(values, np.ndarray) for values in batch.values()):
                return {**self._kept(batch), **{k: _object_array(v) for k, v in added.items()}}
            return {**self._kept(batch), **added}
        if hasattr(batch, "columns") and hasattr(batch, "assign"):
            added = self._annotate_columns(batch, list(batch.columns))
            frame = batch if self.keep is None else batch[self.keep]
            # By position, not by the index of the DataFrame.
            return frame.assign(**{name: _object_array(values) for name, values in added.items()})
        if isinstance(batch, Iterable) and not isinstance(batch, str):
            return map(self, batch)
        raise DataError(
            f"a batch of type {type(batch).__name__}: pass columns, as a mapping from names to "
            "lists, or a pandas DataFrame"
        )

    def annotate(
        self, values: Iterable[Value], read: Callable[[Value, Doc], Output]
    ) -> Iterator[Output | Exception]:
        """Annotate texts or tokens, one batch at a time.

        values (Iterable[Value]): The texts or tokens.
        read (Callable[[Value, Doc], Output]): Reads what is needed from a Doc, such as
            `read_columns`. The Doc and its strings must not be used afterwards.
        YIELDS (Output | Exception): What was read of each Doc, in order, or the error that prevents
            its annotation.
        """
        loaded = self._load()
        size = self.batch_size or loaded.nlp.batch_size
        for batch in minibatch(values, size):  # type: ignore[no-untyped-call]
            # Threads share the vocabulary of the pipeline, and a memory zone frees its strings.
            with loaded.lock, use_threads(self.threads), loaded.nlp.memory_zone():
                outputs = _annotate_batch(loaded.nlp, batch, read)
            yield from outputs

    def read_columns(self, value: Value, doc: Doc) -> dict[str, np.ndarray]:
        """Read the added columns of one row.

        value (Value): The text, so that positions are characters, or the tokens.
        doc (Doc): The Doc.
        RETURNS (dict[str, ndarray]): The arrays by column, see `columns`.
        """
        loaded = self._load()
        is_text = isinstance(value, str)
        row: dict[str, np.ndarray] = {}
        for task, prefix, has_confidence in loaded.layers:
            spans = task.stored(doc)
            row |= _positions(spans, prefix, is_text=is_text)
            row[f"{prefix}label"] = np.array([span.label_ for span in spans], dtype=str)
            if has_confidence:
                known = task.probabilities(doc, loaded.attributes)
                confidence = [known.get(span_key(span), np.nan) for span in spans]
                row[f"{prefix}confidence"] = np.array(confidence, dtype=np.float64)
        if loaded.tags:
            tokens = [doc[i : i + 1] for i in range(len(doc))]
            row |= _positions(tokens, "tags_", is_text=is_text)
            row["tags"] = np.array([token.tag_ for token in doc], dtype=str)
        return {f"{self.prefix}{name}": values for name, values in row.items()}

    def check_names(self, names: Iterable[str]) -> None:
        """Check that the added columns have names of their own.

        names (Iterable[str]): The columns of the input.
        RAISES (InputError): An added column has the name of a column that is kept.
        """
        kept = set(names if self.keep is None else self.keep)
        added = {*self.columns, *([self.error_column] if self.on_error == "column" else [])}
        if taken := sorted(kept & added):
            raise InputError(
                f"the input already has columns with the names {', '.join(taken)}: set `prefix`, "
                "which starts the names of added columns, or `keep`, the columns to return"
            )

    def find_column(self, names: Sequence[str]) -> str:
        """Find the column of texts or tokens.

        names (Sequence[str]): The columns of the input.
        RETURNS (str): The column.
        RAISES (InputError): There is no such column.
        """
        column = self.column or (_TOKENS if _TOKENS in names else _TEXT)
        if column not in names:
            raise InputError(
                f"no column {column!r} among {', '.join(map(str, names))}: set `column` to the "
                "column of texts or tokens"
            )
        return column

    @property
    def error_column(self) -> str:
        """The column with errors, see `on_error`."""
        return f"{self.prefix}error"

    def _annotate_columns(self, batch: Any, names: Sequence[str]) -> dict[str, list[Any]]:
        self.check_names(names)
        if missing := sorted(set(self.keep or ()) - set(names)):
            raise InputError(
                f"no columns {', '.join(missing)}, which `keep` names, among "
                f"{', '.join(map(str, names))}"
            )
        added: dict[str, list[Any]] = {name: [] for name in self.columns}
        if self.on_error == "column":
            added[self.error_column] = []
        outputs = self.annotate(batch[self.find_column(names)], self.read_columns)
        for number, output in enumerate(outputs):
            row: Mapping[str, Any] = {}
            if not isinstance(output, Exception):
                row = output
            elif self.on_error == "column":
                row = {self.error_column: str(output)}
            else:
                raise InputError(f"row {number} of the batch: {output}") from output
            for name, column in added.items():
                column.append(row.get(name))
        return added

    def _kept(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        if self.keep is not None:
            return {name: batch[name] for name in self.keep}
        # `Dataset.map` passes a mapping of its own, and keeps the columns with their types.
        return batch if isinstance(batch, dict) else {}

    def _load(self) -> _Loaded:
        return _load(os.getpid(), self.model, self.fingerprint, self.device)


@lru_cache(maxsize=2)
def _load(process: int, model: str, expected: str, device: str | None) -> _Loaded:
    # One pipeline per process, not per object: engines unpickle the object for each task. A forked
    # process does not use the pipeline of its parent, which another thread may hold locked.
    found = fingerprint(model)
    if found != expected:
        raise InputError(
            f"{model}: not the model that the annotator was made for (fingerprint {found} instead "
            f"of {expected}): make the annotator again, or copy the model to all machines"
        )
    nlp = load_pipeline(model, device=device)
    attributes = confidence_attributes(nlp)
    layers = []
    if setters_of(nlp, ENTITIES.assigns):
        layers.append(_Layer(ENTITIES, "", has_confidence=bool(attributes)))
    components = nlp.config["components"]
    for name in setters_of(nlp, CHUNKS.assigns):
        for path in setting_paths("spans_key", {name: components[name]}):
            key = components[name][path.rpartition(".")[2]]
            layers.append(_Layer(CHUNKS.with_key(key), f"{key}_", has_confidence=True))
    tags = bool(setters_of(nlp, TAGS.assigns))
    return _Loaded(nlp, attributes, tuple(layers), tags, Lock())


def _annotate_batch(
    nlp: Language, values: Sequence[Value], read: Callable[[Value, Doc], Output]
) -> list[Output | Exception]:
    try:
        docs = [_make_doc(nlp, value) for value in values]
        docs = list(nlp.pipe(docs, batch_size=len(values)))
    except Exception as error:
        if len(values) == 1:
            return [error]
        # Find the rows with errors.
        return [output for value in values for output in _annotate_batch(nlp, [value], read)]
    return [read(value, doc) for value, doc in zip(values, docs, strict=True)]


def _make_doc(nlp: Language, value: Any) -> Doc:
    if isinstance(value, str):
        return nlp.make_doc(value)
    words = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(words, list | tuple):
        raise DataError(f"{value!r} is neither a text nor a list of tokens")
    for position, word in enumerate(words):
        if not isinstance(word, str) or not word:
            raise DataError(f"token {position} is {word!r}: a token must be a string, not empty")
    return Doc(nlp.vocab, words=list(words))


def _positions(spans: Sequence[Span], prefix: str, *, is_text: bool) -> dict[str, np.ndarray]:
    names = ("start_char", "end_char") if is_text else ("start", "end")
    return {
        f"{prefix}{column}": np.array([getattr(span, name) for span in spans], dtype=np.int64)
        for column, name in zip(("start", "end"), names, strict=True)
    }


def _object_array(values: Sequence[Any]) -> np.ndarray:
    # NumPy would make a matrix of rows with the same length.
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array
