"""Choose a recipe by the size and the kind of the data, and write it as a training config."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log2
from pathlib import Path

from spacy.cli.init_config import init_config
from spacy.util import get_installed_models, is_package
from thinc.api import Config

from ..errors import ConfigError
from ..tasks import CHUNKS, SpanGroupTask, Task
from .data import DEV, TRAIN

AUTO, NONE = "auto", "none"
N_EVALUATIONS = 12  # of the development data
COMPONENT = {"bigru_ner": "ner", "bigru_chunker": "chunker", "bigru_tagger": "tagger"}
"""The name in the pipeline for each factory."""

_TOKENS_PER_SENTENCE = 15  # about; texts with offsets do not mark sentences
_VECTORS = ("core_web_lg", "core_news_lg", "core_web_md", "core_news_md")


@dataclass(frozen=True)
class Recipe:
    """The settings that depend on the data.

    docs_per_batch (int): Docs in a batch.
    steps (int): number of updates. The learn rate rises in the first tenth of them, and falls to 0
        in the rest.
    epochs (float): number of passes over the training data.
    occurrences (int): width of the mean over all occurrences of a word in a Doc; 0 for none.
    evaluations (int): number of evaluations of the development data.
    """

    docs_per_batch: int
    steps: int
    epochs: float
    occurrences: int
    evaluations: int = N_EVALUATIONS

    def scaled(self, steps: int, evaluations: int = N_EVALUATIONS) -> "Recipe":
        """Change the number of updates.

        steps (int): the number of updates.
        evaluations (int): the number of evaluations.
        RETURNS (Recipe): the recipe, with all that depends on these.
        """
        epochs = self.epochs * steps / self.steps
        return replace(self, steps=steps, epochs=epochs, evaluations=min(evaluations, steps))


def choose_recipe(n_docs: int, n_tokens: int, sentences_per_doc: int) -> Recipe:
    """Choose a recipe by the number of tokens, and by what a Doc is.

    The formulas interpolate between the configs `sample` and `conll2003`, which were chosen on
    development data.

    n_docs, n_tokens (int): Docs and tokens of the training data.
    sentences_per_doc (int): see `TrainingData`. Documents can be single sentences, too: then they
        have few tokens.
    RETURNS (Recipe): the recipe.
    """
    n_sentences = max(1.0, n_tokens / _TOKENS_PER_SENTENCE)
    epochs = min(20 * (1000 / n_sentences) ** 0.2, 50)
    # Half of the square root, as a power of two from 4 to 64.
    per_batch = 2 ** round(min(max(log2(n_sentences) / 2 - 1, 2), 6))
    docs = max(1, round(per_batch * n_docs / n_sentences))
    steps = max(N_EVALUATIONS, round(epochs * n_docs / docs))
    single = sentences_per_doc == 1 or n_tokens < 2 * _TOKENS_PER_SENTENCE * n_docs
    return Recipe(docs, steps, epochs, occurrences=0 if single else 128)


def find_vectors(lang: str) -> str | None:
    """Find an installed pipeline with word vectors.

    lang (str): the language.
    RETURNS (str | None): the name of the package, the largest first; None if none is installed.
    """
    installed = set(get_installed_models())
    names = (f"{lang}_{ending}" for ending in _VECTORS)
    return next((name for name in names if name in installed), None)


def check_vectors(name: str | None) -> None:
    """Check that a pipeline with word vectors exists.

    name (str | None): a folder, or the name of a package; None for no vectors.
    RAISES (ValueError): there is neither.
    """
    if name is not None and not (Path(name).is_dir() or is_package(name)):
        raise ConfigError(
            f"`vectors` = {name!r}: no such folder or installed pipeline. For a pipeline of spaCy: "
            f"python -m spacy download {name}"
        )


def make_config(
    task: Task,
    files: Mapping[str, Path],
    recipe: Recipe,
    *,
    sentences_per_doc: int,
    lang: str,
    vectors: str | None,
    gpu: bool = False,
) -> Config:
    """Write a recipe as a training config.

    task (Task): the task to learn.
    files, sentences_per_doc: see `use_files`.
    recipe (Recipe): the settings.
    lang (str): the language.
    vectors (str | None): a pipeline with word vectors.
    gpu (bool): whether to use a GPU if there is one.
    RETURNS (Config): the complete config.
    """
    factory = task.factory
    config = init_config(lang=lang, pipeline=[factory], optimize="efficiency", silent=True)
    name = COMPONENT[factory]
    component = config["components"].pop(factory)
    config["components"][name] = component
    config["nlp"]["pipeline"] = [name]
    config["paths"]["vectors"] = vectors
    use_files(config, files, sentences_per_doc)
    component["model"].update(
        hidden=192,
        input_dropout=0.33,
        occurrences=recipe.occurrences,
        device="auto" if gpu else None,
    )
    if "recall_bias" in component:
        component["recall_bias"] = 0.0  # the development data decide at the end
    training = config["training"]
    training.update(
        dropout=0.5,
        max_steps=recipe.steps,
        eval_frequency=-(-recipe.steps // recipe.evaluations),
        patience=-(-recipe.steps // 2),
        batcher={
            "@batchers": "spacy.batch_by_sequence.v1",
            "size": recipe.docs_per_batch,
            "get_length": None,
        },
        logger={"@loggers": "bigru_tagger.ProgressLogger.v1"},
    )
    training["optimizer"].update(
        use_averages=True,
        learn_rate={
            "@schedules": "warmup_linear.v1",
            "warmup_steps": recipe.steps // 10,
            "total_steps": recipe.steps,
            "initial_rate": 0.003,
        },
    )
    if isinstance(task, SpanGroupTask):
        _set_spans_key(config, name, task.key)
    return config


def _set_spans_key(config: Config, name: str, key: str) -> None:
    component = config["components"][name]
    component["spans_key"] = component["scorer"]["spans_key"] = key
    weights = config["training"]["score_weights"]
    config["training"]["score_weights"] = {
        score.replace(f"spans_{CHUNKS.key}_", f"spans_{key}_"): weight
        for score, weight in weights.items()
    }


def use_files(config: Config, files: Mapping[str, Path], sentences_per_doc: int) -> None:
    """Set the training and development data of a config.

    config (Config): the config, modified in place.
    files (Mapping[str, Path]): the `.spacy` files by the names "train" and "dev".
    sentences_per_doc (int): see `TrainingData`. The files have such Docs. Commands such as
        `evaluate` make Docs of other data like them.
    """
    for name in (TRAIN, DEV):
        config["paths"][name] = str(files[name])
        config["corpora"][name] = {
            "@readers": "bigru_tagger.Corpus.v1",
            "path": f"${{paths.{name}}}",
            "sentences_per_doc": sentences_per_doc,
        }
