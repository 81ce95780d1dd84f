"""Combine trained pipelines into an ensemble."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from spacy.language import Language

from ..errors import ConfigError, ModelError
from ..model.thinc_model import network_shim
from ..pipeline.component import SequenceTagger
from ..runtime.ensemble import join_members
from ..runtime.network import pack_network
from ..scoring.loading import load_pipeline

_BIAS = "recall_bias"


def combine(models: Sequence[str | Path]) -> Language:
    """Combine trained pipelines into an ensemble.

    Each component of this package averages the logits of the pipelines' networks. The more the
    networks' errors differ, the more accurate the mean is, so train with different seeds
    (Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", arXiv 1612.01474). Everything else is that of the first pipeline. An ensemble cannot
    be trained further.

    models (Sequence[str | Path]): folders or names of packages, at least two. The pipelines must
        have the same language, components, labels, settings, network structure and word vectors.
        Different numbers for `recall_bias` are averaged, too.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): a pipeline cannot be loaded, the pipelines differ, or a component shares an
        encoder.
    """
    if len(models) < 2:
        raise ConfigError(f"an ensemble needs at least two pipelines; got {len(models)}")
    pipelines = [load_pipeline(str(model)) for model in models]
    nlp = pipelines[0]
    names = [name for name, pipe in nlp.pipeline if isinstance(pipe, SequenceTagger)]
    if not names:
        raise ModelError(
            f"{models[0]} has no bigru_ner, bigru_tagger or bigru_chunker to combine: it has "
            f"{', '.join(nlp.pipe_names) or 'no components'}"
        )
    for model, other in zip(models[1:], pipelines[1:], strict=True):
        pair = f"{models[0]} and {model}"
        _check_pipelines(nlp, other, pair)
        for name in names:
            _check_component(nlp, other, name, pair)
    for name in names:
        _average([pipeline.get_pipe(name) for pipeline in pipelines])  # type: ignore[misc]
    nlp.meta["performance"] = {}  # that of the first pipeline alone
    return nlp


def _average(components: Sequence[SequenceTagger]) -> None:
    """Replace the network of the first component by the ensemble."""
    first = components[0]
    shims = [network_shim(component.model) for component in components]
    spec = replace(shims[0].spec, members=len(shims))
    network_shim(first.model).from_bytes(
        pack_network(spec, join_members([shim.arrays for shim in shims]))
    )
    if isinstance(first.cfg.get(_BIAS), int | float):
        first.cfg[_BIAS] = fmean(component.cfg[_BIAS] for component in components)


def _check_component(nlp: Language, other: Language, name: str, models: str) -> None:
    """Compare a component of two pipelines. RAISES (ModelError): if they cannot be combined."""
    components = [pipeline.get_pipe(name) for pipeline in (nlp, other)]
    if type(components[0]) is not type(components[1]):
        raise ModelError(
            f"{models} cannot be combined: their component {name!r} is not of the same type"
        )
    described = [
        _describe(component, pipeline)  # type: ignore[arg-type]
        for component, pipeline in zip(components, (nlp, other), strict=True)
    ]
    first, second = described
    different = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    if different:
        values = "; ".join(f"{key}: {first.get(key)} and {second.get(key)}" for key in different)
        raise ModelError(
            f"{models} cannot be combined: {name} differs in {values}. Train them with one config "
            "and different seeds, and run `calibrate` or `tune` on the ensemble"
        )


def _describe(component: SequenceTagger, nlp: Language) -> dict[str, Any]:
    """Describe what all members of an ensemble have in common."""
    shim = network_shim(component.model)
    if component.model.layers:
        raise ModelError(
            f"{nlp.path}: {component.name} reads the output of a spaCy encoder or a transformer. "
            "An ensemble needs components with word embeddings alone"
        )
    if shim.spec.members > 1:
        raise ModelError(f"{nlp.path} is an ensemble: combine its members with the others instead")
    block = nlp.config.interpolate()["components"][component.name]["model"]
    bias = component.cfg.get(_BIAS)
    return {
        "temperature": 1.0,  # before calibration
        **component.cfg,
        _BIAS: "a number" if isinstance(bias, int | float) else bias,
        "n_spans": None,  # it only says how the bias was chosen
        "embed": block.get("embed"),
        "by_sentence": block.get("by_sentence"),
        "network": shim.spec.to_json(),
    }


def _check_pipelines(nlp: Language, other: Language, models: str) -> None:
    """Compare what surrounds the networks. RAISES (ModelError): if they cannot be combined."""
    for what, first, second in (
        ("languages", nlp.lang, other.lang),
        ("components", nlp.pipe_names, other.pipe_names),
    ):
        if first != second:
            raise ModelError(
                f"{models} cannot be combined: they have different {what}: {first} and {second}"
            )
    vectors, others = nlp.vocab.vectors, other.vocab.vectors
    if vectors.shape != others.shape or not (
        vectors.key2row == others.key2row and np.array_equal(vectors.data, others.data)
    ):
        raise ModelError(
            f"{models} cannot be combined: they have different word vectors. Train them with the "
            "same vectors"
        )
