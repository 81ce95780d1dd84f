"""Train a pipeline on any data, without a config."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import spacy
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches
from spacy.util import load_config, registry, resolve_dot_names
from thinc.api import Config

from ..corpus.corpus import default_split, open_corpus
from ..corpus.fingerprint import fingerprint
from ..errors import ConfigError, DeviceError
from ..extras import require
from ..files import atomic_folder
from ..pipeline.spans import SpanTagger
from ..scoring.loading import load_pipeline
from ..scoring.run import Evaluation, evaluate
from ..tuning.tuner import Tuner
from .checkpoints import (
    BEST,
    check_unfinished,
    is_unfinished,
    stored_steps,
    train_pipeline,
    use_checkpoints,
)
from .configs import find_config, write_config
from .continuing import Continuation, continue_from, step_back
from .data import DEV, TrainingData, prepare_data
from .recipe import (
    AUTO,
    COMPONENT,
    N_EVALUATIONS,
    NONE,
    Recipe,
    check_vectors,
    choose_recipe,
    find_vectors,
    make_config,
    use_files,
)

if TYPE_CHECKING:
    from .data import Source

_MEASURED_STEPS = 10  # to estimate how many steps fit into the given time
_MAX_STEPS = "training.max_steps"
OLD = "old labels"
"""The name of the scores on the old pipeline's entities."""


@dataclass(frozen=True)
class Plan:
    """A training that is ready to run.

    output (Path): the output folder.
    config (Path): the config, which `spacy train` takes as well.
    data (TrainingData): the data.
    recipe (Recipe | None): the settings that were chosen by the data; None with the user's config.
    lang (str): the language.
    vectors (str | None): the pipeline with word vectors.
    options (Mapping[str, Any]): settings of the reader.
    continued (Continuation | None): the pipeline whose training is continued.
    resume (bool): whether to go on with an unfinished training in the output folder.
    """

    output: Path
    config: Path
    data: TrainingData
    recipe: Recipe | None
    lang: str
    vectors: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    continued: Continuation | None = None
    resume: bool = False

    @property
    def best(self) -> Path:
        """The folder of the best model."""
        return self.output / BEST


@dataclass(frozen=True)
class Training:
    """The result of a training.

    nlp (Language): the best pipeline.
    plan (Plan): the data and the config.
    evaluations (dict[str, Evaluation]): the scores on the development data ("dev"), and on the test
        data ("test") if there are any. If a training was continued, those by "old labels" are the
        agreement with the old pipeline on the labels that the data do not annotate.
    bias (float | None): the `recall_bias` that was chosen on the development data, None if that of
        the training was kept.
    share (float): if a training was continued, the share of the way from the old weights to the new
        ones that was chosen on the development data, see `step_back`.
    """

    nlp: Language
    plan: Plan
    evaluations: dict[str, Evaluation]
    bias: float | None = None
    share: float = 1.0


def train(
    source: "Source",
    output: str | Path,
    *,
    test: str | None = None,
    **settings: Any,
) -> Training:
    """Train a pipeline on any data, and score it.

        training = bigru_tagger.train("notes.jsonl", "output/notes")
        doc = training.nlp("Ada Lovelace lived in London.")

    The output folder then has the data (`corpus`), the config (`config.cfg`), and the pipelines
    `model-best` and `model-last`, as with `spacy train`.

    source (str | Path | Dataset | DatasetDict): the data, in any format of `open_corpus`, or a
        dataset of the library `datasets`.
    output (str | Path): the output folder.
    test (str | None): test data to score the pipeline on.
    settings (Any): see `plan_training`.
    RETURNS (Training): the pipeline and its scores.
    RAISES (ValueError): see `plan_training`. (OSError): a file cannot be written.
        (TrainingStopped): see `run_training`.
    """
    return run_training(plan_training(source, output, **settings), test=test)


def plan_training(
    source: "Source",
    output: str | Path,
    *,
    dev: "Source | None" = None,
    dev_share: float = 0.1,
    lang: str = "en",
    vectors: str = AUTO,
    task: str | None = None,
    config: str | Path | None = None,
    start: str | None = None,
    gpu: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    overrides: Mapping[str, Any] | None = None,
    **options: Any,
) -> Plan:
    """Read and check the data, choose a recipe, and write the config.

    source, dev, dev_share, task, options: see `recipes.data.prepare_data`.
    output (str | Path): the output folder.
    lang (str): the language of the pipeline. With `start`, its language and vectors are used.
    vectors (str): a pipeline with word vectors; "auto" for an installed one, "none" for none.
    config (str | Path | None): a config to use in place of the recipe: the name of one of this
        package, or a file.
    start (str | None): a pipeline whose training is continued. Its other labels are kept: on tokens
        that the data do not annotate, the pipeline's own predictions are learned.
    gpu (bool): whether to train on a GPU.
    minutes (float | None): train about as long at most. The number of steps is set to what fits.
    seed (int): the seed.
    overwrite (bool): whether to replace the models of an earlier training in the output folder.
    resume (bool): whether to go on with an unfinished training in the output folder. Without one,
        training starts from the beginning. The other arguments must be those of the first run.
    overrides (Mapping[str, Any] | None): settings of the config by their path, such as
        "training.dropout". With "training.max_steps", the schedule of the learn rate changes too.
    RETURNS (Plan): the plan.
    RAISES (ValueError): the data cannot be read or have errors, the output folder holds a model or
        an unfinished training, or a setting is wrong.
    """
    torch = require("torch", "training", "train")
    if gpu and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise DeviceError("there is no GPU that PyTorch can use: leave out the option for it")
    output = Path(output)
    check_unfinished(output, resume=resume, overwrite=overwrite)
    resume = resume and is_unfinished(output)
    if config is not None and not (minutes is None and start is None):
        raise ConfigError(
            "`config` replaces the recipe, which `minutes` and `start` change: use either"
        )
    overrides = {"system.seed": seed, **(overrides or {})}
    if resume and minutes is not None:
        overrides, minutes = {**stored_steps(output), **overrides}, None
    vectors_found = find_vectors(lang) if vectors == AUTO else vectors
    vectors_found = None if vectors_found == NONE else vectors_found
    check_vectors(vectors_found)
    if config is not None:  # an error in it should come before the data are read
        given = load_config(find_config(config), overrides=overrides, interpolate=False)
    old = None if start is None else load_pipeline(start)
    data = prepare_data(
        source,
        output / "corpus",
        lang=lang,
        nlp=old,
        dev=dev,
        dev_share=dev_share,
        task=task,
        seed=seed,
        options=options,
    )
    recipe = continued = None
    if config is not None:
        use_files(given, data.files, data.sentences_per_doc)
        if vectors != AUTO:
            given["paths"]["vectors"] = vectors_found
        vectors_found = given["paths"].get("vectors")
    else:
        counts = data.counts
        recipe = choose_recipe(counts.documents, counts.tokens, data.sentences_per_doc)
        if old is not None:
            continued = continue_from(old, data, output, teacher=fingerprint(str(start)))
            lang, vectors_found = str(continued.nlp.lang), None

        def make(recipe: Recipe) -> Config:
            made = make_config(
                data.task,
                data.files,
                recipe,
                sentences_per_doc=data.sentences_per_doc,
                lang=lang,
                vectors=vectors_found,
                gpu=gpu,
            )
            return made if continued is None else continued.change(made)

        recipe, given = fit_recipe(recipe, make, overrides, minutes)
    path = write_config(given, output)
    return Plan(output, path, data, recipe, lang, vectors_found, options, continued, resume)


def fit_recipe(
    recipe: Recipe,
    make: Callable[[Recipe], Config],
    overrides: Mapping[str, Any],
    minutes: float | None,
) -> tuple[Recipe, Config]:
    """Change the number of steps of a recipe to the user's, or to what fits into a time.

    recipe (Recipe): the recipe.
    make (Callable[[Recipe], Config]): makes the config of a recipe.
    overrides (Mapping[str, Any]): settings of the config by their path.
    minutes (float | None): the time for the training.
    RETURNS (tuple[Recipe, Config]): the changed recipe, and its config with the overrides.
    """
    steps = overrides.get(_MAX_STEPS)
    if steps is not None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError(
                f"{_MAX_STEPS} = {steps!r}: the recipe needs a whole number of at least 1, because "
                "its learn rate decreases until the last step"
            )
        recipe = recipe.scaled(steps)
    if minutes is not None:
        measured = _measure(_override(make(recipe), overrides))
        steps, evaluations = steps_within(60 * minutes, *measured)
        if steps < recipe.steps:
            recipe = recipe.scaled(steps, evaluations)
    return recipe, _override(make(recipe), overrides)


def _override(config: Config, overrides: Mapping[str, Any]) -> Config:
    """Change settings. RAISES (ValueError): the complete config does not have one of them."""
    for path in overrides:
        section, _, name = path.rpartition(".")
        block: Any = config
        for part in section.split("."):
            block = block.get(part) if isinstance(block, dict) else None
        # spaCy refuses unknown sections, but ignores unknown settings in [training].
        if isinstance(block, dict) and name not in block:
            raise ConfigError(
                f"the config has no setting {path}: those of [{section}] are {', '.join(block)}"
            )
    return Config().from_str(config.to_str(), overrides=dict(overrides), interpolate=False)


def _measure(config: Config) -> tuple[float, float, float]:
    """Measure the seconds to load a pipeline, of a training step, and of an evaluation."""
    start = time.perf_counter()
    nlp = init_nlp(config)
    interpolated = nlp.config.interpolate()
    settings = registry.resolve(interpolated["training"], schema=ConfigSchemaTraining)
    names = [settings["train_corpus"], settings["dev_corpus"]]
    train_corpus, dev_corpus = resolve_dot_names(interpolated, names)
    batches = create_train_batches(nlp, train_corpus, settings["batcher"], 0)
    optimizer = settings["optimizer"]
    seconds = []
    for _, batch in islice(batches, _MEASURED_STEPS):
        begin = time.perf_counter()
        nlp.update(batch, drop=settings["dropout"], sgd=optimizer)
        optimizer.step_schedules()
        seconds.append(time.perf_counter() - begin)
    examples = list(dev_corpus(nlp))
    loaded = time.perf_counter()
    nlp.evaluate(examples)
    return loaded - start, median(seconds), time.perf_counter() - loaded


def steps_within(seconds: float, load: float, step: float, evaluation: float) -> tuple[int, int]:
    """Compute how many steps and evaluations fit into a time.

    seconds (float): the time, in seconds.
    load, step, evaluation (float): the seconds to load the pipeline, which was done once and comes
        again, of a step, and of an evaluation.
    RETURNS (tuple[int, int]): the steps, and the evaluations, which take a fifth of the time at
        most if there are more than two.
    RAISES (ValueError): not even one step for each of two evaluations fits.
    """
    left = seconds - 2 * load
    evaluations = min(max(int(0.2 * left / evaluation), 2), N_EVALUATIONS)
    steps = int((left - evaluations * evaluation) / step)
    if steps < evaluations:
        needed = (2 * load + 2 * (evaluation + step)) / 60
        raise ConfigError(
            f"`minutes` = {seconds / 60:g} is too short: loading and two evaluations alone take "
            f"{needed:.1f} minutes"
        )
    return steps, evaluations


def _balance(nlp: Language, plan: Plan) -> float | None:
    """Choose the `recall_bias` of the best pipeline on the development data, and save it."""
    name = COMPONENT[plan.data.task.factory]
    pipe = nlp.get_pipe(name)
    if not isinstance(pipe, SpanTagger) or nlp.get_pipe_config(name)["recall_bias"]:
        return None  # the component has none, or it is the user's own
    bias = Tuner(nlp, name, open_corpus(str(plan.data.files[DEV]))(nlp)).balance()
    if bias is not None:
        pipe.cfg["recall_bias"] = bias
        _replace_best(nlp, plan)
    return bias


def _replace_best(nlp: Language, plan: Plan) -> None:
    with atomic_folder(plan.best, replace=True) as temporary:
        nlp.to_disk(temporary)


def run_training(plan: Plan, *, test: str | None = None) -> Training:
    """Train by a plan, and score the best pipeline.

    plan (Plan): the plan.
    test (str | None): test data, see `train`.
    RETURNS (Training): the pipeline and its scores.
    RAISES (ValueError): an unfinished training has another config or other data. (OSError): a file
        cannot be written. (TrainingStopped): the process got SIGINT or SIGTERM. The output folder
        has the best model until then.
    """
    sources: dict[str, tuple[str, str | None, dict[str, Any]]] = {
        DEV: (str(plan.data.files[DEV]), None, {})
    }
    continued = plan.continued
    if continued is not None and continued.old is not None:
        sources[DEV][2]["annotated_labels"] = continued.annotated
        file, labels = continued.old
        if labels:
            sources[OLD] = (str(file), None, {"annotated_labels": labels})
    if test is not None:
        options = {"sentences_per_doc": plan.data.sentences_per_doc, **plan.options}
        sources["test"] = (test, default_split(test), options)
        open_corpus(test, split=default_split(test), **options)  # an error should come before
    config = load_config(plan.config, interpolate=False)
    use_checkpoints(config)

    def finish() -> tuple[Language, float | None, float]:
        nlp = spacy.load(plan.best)
        if continued is None:
            return nlp, None if plan.recipe is None else _balance(nlp, plan), 1.0
        source, split, options = sources[DEV]
        share = step_back(nlp, continued, open_corpus(source, split=split, **options))
        if share < 1.0:
            _replace_best(nlp, plan)
        return nlp, None, share

    nlp, bias, share = train_pipeline(
        init_nlp(config), plan.output, resume=plan.resume, finish=finish
    )
    evaluations = {
        name: evaluate(
            nlp,
            open_corpus(source, split=split, **options)(nlp),
            model=str(plan.best),
            data=source,
            split=split or "",
        )
        for name, (source, split, options) in sources.items()
    }
    return Training(nlp, plan, evaluations, bias, share)
