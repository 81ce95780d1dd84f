"""Plan the training of a student on a teacher's predictions, without a config."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config

from ..corpus.corpus import SPACY_ENDING
from ..distill.outputs import Row, make_doc, store_outputs, student_config
from ..pipeline.soft_targets import Teacher, check_settings
from ..report.corpus_check import check_corpus
from ..schemes import biluo_to_iob2, entity_spans
from ..tasks import ENTITIES
from .configs import write_config
from .data import DEV, TRAIN, TrainingData, write_docs
from .recipe import Recipe, check_vectors, choose_recipe, make_config
from .training import Plan, fit_recipe

_DEV_EVERY = 20  # a twentieth of the texts, and at most as many:
_MAX_DEV = 1000


def plan_distillation(
    teacher: Callable[[], Teacher],
    rows: Callable[[], Iterable[Row]],
    output: Path,
    *,
    lang: str,
    vectors: str | None,
    settings: Mapping[str, Any],
    top_k: int,
    temperature: float,
    weight: float,
    minutes: float | None = None,
    gpu: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Store a teacher's outputs, choose a recipe by the texts, and write the student's config.

    The development data are a part of the texts, with the teacher's entities as gold, so the scores
    are the agreement with the teacher.

    teacher, rows, settings, top_k: see `distill.outputs.store_outputs`.
    output (Path): the output folder.
    lang (str): the language of the student.
    vectors (str | None): a pipeline with word vectors.
    temperature, weight (float): see `SoftTargets`.
    minutes (float | None): see `plan_training`.
    gpu (bool): whether to train the student on a GPU.
    overrides (Mapping[str, Any] | None): see `plan_training`.
    RETURNS (Plan): the plan.
    RAISES (ValueError): see `store_outputs` and `check_settings`.
    """
    # Before the teacher's predictions, which take long.
    check_settings(temperature, weight)
    check_vectors(vectors)
    n_texts = n_tokens = 0
    for row in rows():
        n_texts += 1
        n_tokens += len(row["tokens"])
    every = max(_DEV_EVERY, n_texts // _MAX_DEV)

    def ordered() -> Iterator[Row]:
        # The development data come last, so that the reader's `limit` leaves them out.
        yield from (row for i, row in enumerate(rows()) if i % every)
        yield from (row for i, row in enumerate(rows()) if not i % every)

    outputs = output / "teacher"
    dataset = store_outputs(outputs, teacher, ordered, settings=settings, top_k=top_k)
    n_train = n_texts - len(range(0, n_texts, every))
    nlp = spacy.blank(lang)
    tags = dataset.features["teacher_tags"].feature.feature.names
    predicted = [_predicted(nlp.vocab, row, tags) for row in dataset]
    train, dev = predicted[:n_train], predicted[n_train:]
    files = {TRAIN: outputs, DEV: write_docs(dev, output / "corpus" / f"{DEV}{SPACY_ENDING}")}
    check = check_corpus(
        {name: [Example(doc, doc) for doc in docs] for name, docs in ((TRAIN, train), (DEV, dev))}
    )
    several = check.splits[TRAIN].sentences > check.splits[TRAIN].documents
    data = TrainingData(files, check, ENTITIES, 0 if several else 1, held_out=True)
    recipe = choose_recipe(n_train, n_tokens, data.sentences_per_doc)

    def make(recipe: Recipe) -> Config:
        config = make_config(
            ENTITIES,
            files,
            recipe,
            sentences_per_doc=data.sentences_per_doc,
            lang=lang,
            vectors=vectors,
            gpu=gpu,
        )
        config = student_config(config, outputs, temperature=temperature, weight=weight)
        config["corpora"]["train"]["limit"] = n_train
        return config

    recipe, config = fit_recipe(recipe, make, overrides or {}, minutes)
    return Plan(output, write_config(config, output), data, recipe, lang, vectors)


def _predicted(vocab: Vocab, row: Row, tags: Sequence[str]) -> Doc:
    """Create a Doc with the teacher's most probable tags as entities."""
    doc = make_doc(vocab, {**row, "ner_tags": None})
    best = [biluo_to_iob2(tags[of_token[0]]) for of_token in row["teacher_tags"]]
    doc.set_ents([Span(doc, start, end, label) for label, start, end in entity_spans(best)])
    return doc
