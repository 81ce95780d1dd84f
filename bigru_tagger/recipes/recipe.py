"""Choose a recipe by the size and the kind of the data, and write it as a training config."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log2
from pathlib import Path

from spacy.cli.init_config import init_config
from spacy.util import get_installed_models
from thinc.api import Config

from ..tasks import CHUNKS, SpanGroupTask
from .data import DEV, TRAIN, TrainingData

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
    """

    docs_per_batch: int
    steps: int
    epochs: float
    occurrences: int

    def scaled(self, steps: int) -> "Recipe":
        """Change the number of updates.

        steps (int): the number of updates.
        RETURNS (Recipe): the recipe, with all that depends on it.
        """
        steps = max(steps, N_EVALUATIONS)
        return replace(self, steps=steps, epochs=self.epochs * steps / self.steps)


def choose_recipe(data: TrainingData) -> Recipe:
    """Choose a recipe by the number of tokens, and by what a Doc is.

    The formulas were fitted on development data of several corpora, see the documentation.

    data (TrainingData): the data.
    RETURNS (Recipe): the recipe.
    """
    counts = data.counts
    sentences = max(1.0, counts.tokens / _TOKENS_PER_SENTENCE)
    epochs = min(max(20 * (1000 / sentences) ** 0.35, 12), 50)
    per_batch = 2 ** round(min(max(log2(sentences) / 2 - 1, 2), 6))  # half of the square root
    docs = max(1, round(per_batch * counts.documents / sentences))
    steps = max(N_EVALUATIONS, round(epochs * counts.documents / docs))
    return Recipe(docs, steps, epochs, occurrences=0 if data.sentences_per_doc == 1 else 128)


def find_vectors(lang: str) -> str | None:
    """Find an installed pipeline with word vectors.

    lang (str): the language.
    RETURNS (str | None): the name of the package, the largest first; None if none is installed.
    """
    installed = set(get_installed_models())
    names = (f"{lang}_{ending}" for ending in _VECTORS)
    return next((name for name in names if name in installed), None)


def make_config(
    data: TrainingData,
    recipe: Recipe,
    *,
    lang: str,
    vectors: str | None,
    gpu: bool = False,
) -> Config:
    """Write a recipe as a training config.

    data (TrainingData): the data.
    recipe (Recipe): the settings.
    lang (str): the language.
    vectors (str | None): a pipeline with word vectors.
    gpu (bool): whether to use a GPU if there is one.
    RETURNS (Config): the complete config.
    """
    factory = data.task.factory
    config = init_config(lang=lang, pipeline=[factory], optimize="efficiency", silent=True)
    name = COMPONENT[factory]
    component = config["components"].pop(factory)
    config["components"][name] = component
    config["nlp"]["pipeline"] = [name]
    config["paths"]["vectors"] = vectors
    use_files(config, data.files)
    component["model"].update(
        hidden=192,
        input_dropout=0.33,
        occurrences=recipe.occurrences,
        device="auto" if gpu else None,
    )
    training = config["training"]
    training.update(
        dropout=0.5,
        max_steps=recipe.steps,
        eval_frequency=-(-recipe.steps // N_EVALUATIONS),
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
    if isinstance(data.task, SpanGroupTask):
        _set_spans_key(config, name, data.task.key)
    return config


def _set_spans_key(config: Config, name: str, key: str) -> None:
    component = config["components"][name]
    component["spans_key"] = component["scorer"]["spans_key"] = key
    weights = config["training"]["score_weights"]
    config["training"]["score_weights"] = {
        score.replace(f"spans_{CHUNKS.key}_", f"spans_{key}_"): weight
        for score, weight in weights.items()
    }


def use_files(config: Config, files: Mapping[str, Path]) -> None:
    """Set the training and development data of a config.

    config (Config): the config, modified in place.
    files (Mapping[str, Path]): the `.spacy` files by the names "train" and "dev".
    """
    for name in (TRAIN, DEV):
        config["paths"][name] = str(files[name])
        config["corpora"][name] = {
            "@readers": "bigru_tagger.Corpus.v1",
            "path": f"${{paths.{name}}}",
        }
