"""The recipe that is chosen by the size of the data."""

from itertools import islice

import pytest
from spacy.util import registry

from bigru_tagger.recipes import recipe as recipes
from bigru_tagger.recipes.recipe import choose_recipe, find_vectors, make_config
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS


@pytest.mark.parametrize(
    ("n_docs", "n_tokens", "expected"),
    [
        # 60 sentences: half of their square root is 3.9, and 20 · (1000 / 60) ** 0.2 = 35.1.
        (60, 900, (4, 527, 35.1)),
        # 1,000 sentences: 15.8, so batches of 16, and 20 passes.
        (1000, 15_000, (16, 1250, 20.0)),
        # 16,000 sentences: 63.2, and 20 · 0.0625 ** 0.2 = 11.5.
        (16_000, 240_000, (64, 2872, 11.5)),
        # The same in windows of 32 sentences: 2 in a batch.
        (500, 240_000, (2, 2872, 11.5)),
    ],
)
def test_batches_and_steps(n_docs, n_tokens, expected):
    recipe = choose_recipe(n_docs, n_tokens, 1)
    assert (recipe.docs_per_batch, recipe.steps, round(recipe.epochs, 1)) == expected


def test_only_docs_of_several_sentences_use_occurrences():
    assert choose_recipe(10, 1000, 1).occurrences == 0
    assert choose_recipe(10, 1000, 0).occurrences > 0
    assert choose_recipe(10, 290, 0).occurrences == 0  # texts of a sentence each
    assert choose_recipe(10, 300, 0).occurrences > 0
    assert choose_recipe(10, 1000, 32).occurrences > 0


def test_steps_are_scaled_with_the_epochs():
    recipe = choose_recipe(1000, 15_000, 1).scaled(125)
    assert (recipe.steps, recipe.epochs) == (125, 2.0)


def test_the_schedule_ends_with_the_steps(tmp_path):
    recipe = choose_recipe(1000, 15_000, 1)
    files = {"train": tmp_path / "train.spacy", "dev": tmp_path / "dev.spacy"}
    config = make_config(ENTITIES, files, recipe, sentences_per_doc=1, lang="xx", vectors=None)
    training = config["training"]
    assert training["max_steps"] == training["optimizer"]["learn_rate"]["total_steps"] == 1250
    schedule = registry.resolve({"rate": training["optimizer"]["learn_rate"]})["rate"]
    rates = list(islice(schedule, 1251))
    assert [rates[0], rates[125], rates[1250]] == [0.0, pytest.approx(0.003), 0.0]
    assert config["paths"]["train"] == str(files["train"])


@pytest.mark.parametrize("task", [ENTITIES, CHUNKS, TAGS])
def test_the_recall_bias_is_left_to_the_development_data(task, tmp_path):
    files = dict.fromkeys(("train", "dev"), tmp_path)
    config = make_config(
        task, files, choose_recipe(10, 100, 1), sentences_per_doc=1, lang="xx", vectors=None
    )
    (component,) = config["components"].values()
    assert component.get("recall_bias", 0.0) == 0.0


def test_a_key_of_spans_reaches_component_and_scores(tmp_path):
    recipe = choose_recipe(10, 100, 1)
    files = dict.fromkeys(("train", "dev"), tmp_path)
    config = make_config(
        CHUNKS.with_key("parts"), files, recipe, sentences_per_doc=1, lang="xx", vectors=None
    )
    assert config["components"]["chunker"]["spans_key"] == "parts"
    assert config["training"]["score_weights"]["spans_parts_f"] == 1.0
    assert not [name for name in config["training"]["score_weights"] if "chunks" in name]


def test_the_largest_installed_vectors_are_found(monkeypatch):
    installed = ["en_core_web_sm", "en_core_web_md", "de_core_news_lg", "de_core_news_md"]
    monkeypatch.setattr(recipes, "get_installed_models", lambda: installed)
    assert find_vectors("en") == "en_core_web_md"
    assert find_vectors("de") == "de_core_news_lg"
    assert find_vectors("fr") is None
