from importlib.metadata import distribution

import numpy as np
import pytest
import spacy
import torch
from samples import NARROW, SENTENCES, TEXTS, TINY, build, read_examples, train
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import registry
from spacy.vectors import Vectors
from thinc.api import SGD, Adam, Model

from bigru_tagger.embeddings import resources
from bigru_tagger.embeddings.char_cnn import CharCNNEmbed
from bigru_tagger.embeddings.char_gru import CharGRUEmbed
from bigru_tagger.embeddings.clusters import ClusterEmbed, ClusterEmbedding
from bigru_tagger.embeddings.gazetteer import GazetteerEmbed
from bigru_tagger.embeddings.hash import HashEmbed
from bigru_tagger.embeddings.standard import standard_embed
from bigru_tagger.embeddings.vector_file import VectorFileEmbed
from bigru_tagger.embeddings.vectors import VectorsEmbed
from bigru_tagger.model import architectures, batches
from bigru_tagger.model.architectures import BiGRUEncoder, BiGRUTagger, BiGRUTok2Vec
from bigru_tagger.model.batches import DocReader
from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.model.thinc_model import DropoutSettings, network_shim
from bigru_tagger.network.encoder import Dropout

ENTRY_POINTS = [
    entry
    for entry in distribution("bigru-tagger").entry_points
    if entry.group.startswith(("spacy_", "thinc_"))
]


def hash_embed(attrs, rows):
    return HashEmbed(attrs=attrs, rows=rows, width=8, unknown_rate=0.0, fold_digits=False)


def char_embed(window):
    return CharCNNEmbed(
        width=4, filters=4, window=window, rows=100, max_length=10, fold_digits=False
    )


def words():
    return {"words": hash_embed(["NORM", "SHAPE"], [100, 50])}


def docs(vocab=None):
    vocab = vocab or spacy.blank("en").vocab
    return [Doc(vocab, words=text.split()) for text in TEXTS]


# --- the registry


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.name)
def test_registered_names_resolve_to_what_the_entry_points_say(entry):
    group = entry.group.split("_", 1)[1]
    if group == "factories":
        component = spacy.blank("en").create_pipe(entry.name)
        assert type(component).__module__.startswith("bigru_tagger.pipeline.")
        assert entry.load() is not None
        assert component.name == entry.name
        assert Language.get_factory_meta(entry.name).default_config["model"]
    else:
        assert registry.get(group, entry.name) is entry.load()


@pytest.mark.parametrize(
    "group", ["architectures", "misc", "readers", "scorers", "callbacks", "optimizers"]
)
def test_all_that_is_registered_has_an_entry_point(group):
    registered = {name for name in getattr(registry, group).get_all() if "bigru" in name}
    own = (f"spacy_{group}", f"thinc_{group}")
    assert registered == {e.name for e in ENTRY_POINTS if e.group in own}


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.name)
def test_functions_are_named_by_package_and_version(entry):
    if entry.group != "spacy_factories":
        package, _, version = entry.name.split(".")
        assert package == "bigru_tagger"
        assert version.startswith("v")
    else:
        assert "." not in entry.name


# --- settings


@pytest.mark.parametrize(
    ("arguments", "widths"),
    [
        ({"hidden": 6}, [6]),
        ({"hidden": 6, "depth": 1}, [6]),
        ({"hidden": 6, "depth": 3}, [6, 6, 6]),
        ({"hidden": [6, 4]}, [6, 4]),
        ({"hidden": [6, 4], "depth": 2}, [6, 4]),
        ({"hidden": 6, "depth": 0}, []),
        ({"hidden": []}, []),
    ],
)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_layers_and_their_widths(arguments, widths, cell, bidirectional):
    model = BiGRUTagger(words(), **arguments, cell=cell, bidirectional=bidirectional, nO=5)
    model.initialize(X=docs())
    network = network_shim(model).network
    directions = 2 if bidirectional else 1
    shapes = [
        (layer["forward_layer"].input_size, layer["forward_layer"].hidden_size)
        for layer in network.encoder.layers
    ]
    inputs = [16, *(width * directions for width in widths)]
    assert shapes == list(zip(inputs, widths, strict=False))
    assert all(len(layer) == directions for layer in network.encoder.layers)
    assert all(
        rnn.mode == cell.upper() for layer in network.encoder.layers for rnn in layer.values()
    )
    assert network.linear.weight.shape == (5, inputs[-1])
    assert [scores.shape for scores in model.predict(docs())] == [(8, 5), (7, 5), (4, 5), (8, 5)]


@pytest.mark.parametrize(
    ("build_model", "message"),
    [
        (lambda: BiGRUTagger({}, 8), "at least one embedding"),
        (lambda: BiGRUTagger({"words": None}, 8), "at least one embedding"),
        (lambda: BiGRUTagger({"words": 3}, 8), r"\[\.\.\.model\.embed\.words\].*got 3"),
        (lambda: BiGRUTagger({"words": HashEmbed}, 8), "must be an embedding"),
        (lambda: BiGRUTagger({"x": Model("m", lambda *a: a)}, 8), "must be an embedding"),
        (lambda: BiGRUTagger(words(), [8, 4], depth=3), r"2 layers, \[8, 4\], but 'depth' is 3"),
        (lambda: BiGRUTagger(words(), 8, depth=-1), "'depth' must be at least 0; got -1"),
        (lambda: BiGRUTagger(words(), 8, input_dropout=1.0), "input_dropout .* below 1; got 1.0"),
        (lambda: BiGRUTagger(words(), 8, hidden_dropout=-0.1), "hidden_dropout .*; got -0.1"),
        (lambda: BiGRUTagger(words(), 8, recurrent_dropout=1.0), "recurrent_dropout .*; got 1.0"),
        (
            lambda: BiGRUTagger(words(), 8, cell="lstm", recurrent_dropout=0.2),
            'cell = "lstm", set recurrent_dropout = 0.0',
        ),
        (
            lambda: BiGRUEncoder(8, cell="lstm", recurrent_dropout=None),
            'cell = "lstm", set recurrent_dropout = 0.0',
        ),
        (lambda: BiGRUTagger(words(), 0, nO=2).initialize(X=docs()), "must be positive"),
        (lambda: BiGRUTagger(words(), 8, cell="rnn", nO=2).initialize(X=docs()), "'cell' must be"),
        (lambda: BiGRUTagger(words(), 8, decode="CRF"), r"'constrained', 'crf'.*; got 'CRF'"),
        (lambda: BiGRUTok2Vec(words(), 8, depth=0), "at least one layer"),
        (lambda: BiGRUTok2Vec(words(), []), "at least one layer"),
        (lambda: BiGRUEncoder(9), "'width' must be even for two directions; got 9"),
        (lambda: BiGRUEncoder(8, depth=0), "'depth' must be at least 1"),
        (lambda: BiGRUTagger(words(), 8, nO=2).initialize(), "without Docs"),
        (lambda: hash_embed(["NOSUCH"], [10]), "NOSUCH"),
        (lambda: hash_embed([], []), "must list lexical attributes"),
        (lambda: hash_embed(["NORM"], [10, 10]), "one positive table size for each"),
        (lambda: char_embed(window=2), "'window' odd"),
        (lambda: BiGRUTagger(words(), 8, occurrences=-1), "'occurrences' .* at least 0; got -1"),
        (lambda: BiGRUTok2Vec(words(), 8, occurrences=-1), "'occurrences' must be at least 0"),
        (lambda: BiGRUTagger(words(), 8, context_width=0), "'context_width' .* positive.* got 0"),
        (lambda: BiGRUTagger(words(), 8, global_context=-2), "'global_context' .* 0; got -2"),
        (lambda: BiGRUTok2Vec(words(), 8, global_context=-2), "'global_context' .* 0; got -2"),
        (lambda: VectorsEmbed(True, -1), "VectorsEmbed: 'correction_rows' .* got -1"),
        (lambda: VectorFileEmbed("path", -1), "VectorFileEmbed: 'correction_rows' .* got -1"),
        (lambda: ClusterEmbed("paths", [], 4), "'prefixes' must list"),
        (lambda: GazetteerEmbed("lists", 4, 0), "'max_words' must be positive"),
    ],
)
def test_settings_that_do_not_fit(build_model, message):
    with pytest.raises(ValueError, match=message):
        build_model()


def test_static_vectors_alone_need_vectors():
    model = BiGRUTagger({"vectors": VectorsEmbed(fallback=True, correction_rows=30)}, 8, nO=2)
    with pytest.raises(ValueError, match="no input: add an embedding that does not depend"):
        model.initialize(X=docs())


def test_an_odd_width_is_right_for_one_direction():
    model = BiGRUEncoder(9, bidirectional=False)
    assert (model.get_dim("nI"), model.get_dim("nO")) == (9, 9)


def test_number_of_tags_in_the_config_has_to_fit():
    assert build("bigru_ner", model={**TINY, "nO": 13}).pipeline[0][1].model.get_dim("nO") == 13
    with pytest.raises(ValueError, match="built for nO = 7 tags, but the labels need 13"):
        build("bigru_ner", model={**TINY, "nO": 7})


@pytest.mark.parametrize(
    ("model", "expected"),
    [(TINY, ["words"]), (NARROW, ["words", "characters", "clusters", "vectors"])],
)
def test_embeddings_are_those_of_the_config_and_no_others(model, expected):
    pipe = build("bigru_tagger", model=model).get_pipe("bigru_tagger")
    assert list(network_shim(pipe.model).network.embed) == expected


def test_a_setting_of_the_wrong_type_is_a_config_error():
    with pytest.raises(ValueError, match="cell"):
        build("bigru_ner", model={**TINY, "cell": "rnn"})


def test_prediction_cannot_be_backpropagated():
    model = BiGRUTagger(words(), 4, nO=2)
    model.initialize(X=docs())
    output, backprop = model(docs(), is_train=False)
    with pytest.raises(ValueError, match="begin_update instead"):
        backprop(output)


# --- the default embeddings


@pytest.fixture
def lookups(monkeypatch):
    """The tables of `spacy-lookups-data`: a small one for English, none for other languages."""
    tables = {"en": {"lexeme_cluster": "clusters"}}
    reads = []

    def read(path):
        reads.append(path)
        return {"Ada": 0b0111, "Bob": 0b0011, "Oslo": 0b1010, "London": 0b0010, ".": 0b1}

    monkeypatch.setattr(resources.registry, "lookups", tables)
    monkeypatch.setattr(resources, "load_language_data", read)
    resources._read_package.cache_clear()
    yield reads
    resources._read_package.cache_clear()


def default_pipeline(lang="en", seed=0):
    spacy.util.fix_random_seed(seed)
    nlp = spacy.blank(lang)
    nlp.add_pipe("bigru_ner", config={"model": {**NARROW, "embed": None}})
    return nlp


def initialised(nlp):
    nlp.initialize(lambda: read_examples(nlp.vocab))
    return nlp, network_shim(nlp.get_pipe("bigru_ner").model).network


def scores(nlp):
    return [pred.tolist() for pred in nlp.get_pipe("bigru_ner").model.predict(docs(nlp.vocab))]


def test_clusters_are_read_at_initialisation_once(lookups):
    nlp = default_pipeline()
    assert lookups == []
    _, network = initialised(nlp)
    initialised(default_pipeline())
    assert lookups == ["clusters"]
    assert list(network.embed) == ["words", "characters", "clusters", "vectors"]
    # Prefixes of 4 bits: all five paths differ; and one row each for words without a cluster.
    assert network.spec.embed["clusters"] == {
        "kind": "clusters",
        "n_words": 5,
        "n_clusters": 5,
        "n_prefixes": 7,
        "n_rows": 42,
        "width": 32,
    }


def test_no_clusters_for_the_language(lookups):
    nlp, network = initialised(default_pipeline("de"))
    assert list(network.embed) == ["words", "characters", "vectors"]
    assert len(scores(nlp)) == len(TEXTS)


def test_no_package_of_clusters(lookups, monkeypatch):
    monkeypatch.setattr(resources.registry, "lookups", {})
    _, network = initialised(default_pipeline())
    assert list(network.embed) == ["words", "characters", "vectors"]


def test_a_damaged_table_of_clusters_is_an_error(lookups, monkeypatch):
    monkeypatch.setattr(resources, "load_language_data", lambda path: {"Ada": "0111"})
    with pytest.raises(resources.ResourceError, match=r"'lexeme_cluster'.*contains values that"):
        initialised(default_pipeline())


def test_clusters_that_a_config_names_have_to_be_there(lookups):
    model = BiGRUTagger({"clusters": ClusterEmbed("lexeme_cluster", [4], 3)}, 5, nO=4)
    with pytest.raises(resources.ResourceError, match=r"no such table .* for 'de'"):
        model.initialize(X=docs(spacy.blank("de").vocab))


def test_a_trained_pipeline_needs_no_lookups(lookups, monkeypatch, tmp_path):
    nlp, _ = initialised(default_pipeline())
    train(nlp, steps=3)
    nlp.to_disk(tmp_path)
    monkeypatch.setattr(resources.registry, "lookups", {})
    resources._read_package.cache_clear()
    again = spacy.load(tmp_path)
    assert scores(again) == scores(nlp)
    assert lookups == ["clusters"]


def test_a_pipeline_saved_before_there_were_clusters(lookups, tmp_path, monkeypatch):
    without = {
        name: embedding for name, embedding in standard_embed().items() if name != "clusters"
    }
    with monkeypatch.context() as old:
        old.setattr(architectures, "standard_embed", lambda: without)
        nlp, network = initialised(default_pipeline())
        train(nlp, steps=3)
        nlp.to_disk(tmp_path)
    assert list(network.embed) == ["words", "characters", "vectors"]
    again = spacy.load(tmp_path)
    assert scores(again) == scores(nlp)
    monkeypatch.setattr(ClusterEmbedding, "read", lambda *_: pytest.fail("not in the network"))
    assert scores(again) == scores(nlp)
    train(again, steps=1)


def test_a_network_without_clusters_in_place_of_one_with_them(lookups, tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(resources.registry, "lookups", {})
        old, _ = initialised(default_pipeline())
        old.to_disk(tmp_path)
    nlp, _ = initialised(default_pipeline())
    train(nlp, steps=1)  # reads what clusters need of the words
    nlp.from_disk(tmp_path)
    for pipeline in (nlp, old):
        spacy.util.fix_random_seed(1)
        train(pipeline, steps=1)
    for output, expected in zip(scores(nlp), scores(old), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-5)


# --- documents and sentences


@pytest.fixture
def all_embeddings(tmp_path):
    (tmp_path / "vectors.txt").write_text("Ada 1 2\nnew 3 4\n", encoding="utf-8")
    (tmp_path / "paths").write_text("01\tAda\n00\tOslo\n1\tships\n", encoding="utf-8")
    (tmp_path / "LOC.txt").write_text("New York City\nOslo\n", encoding="utf-8")
    (tmp_path / "PER.txt").write_text("Ada Lovelace\nBob met Eve\nOslo\n", encoding="utf-8")
    lists = {name: str(tmp_path / f"{name}.txt") for name in ("LOC", "PER")}
    return {
        **words(),
        "filters": char_embed(window=3),
        "states": CharGRUEmbed(width=4, hidden=3, rows=100, max_length=10, fold_digits=False),
        "vectors": VectorsEmbed(fallback=True, correction_rows=30),
        "file": VectorFileEmbed(str(tmp_path / "vectors.txt"), 20),
        "clusters": ClusterEmbed(str(tmp_path / "paths"), [1, 2], 3),
        "phrases": GazetteerEmbed(lists, 4, 3),
    }


def with_sentences(vocab, *sentences):
    tokens = [word for sentence in sentences for word in sentence]
    starts = [i == 0 for sentence in sentences for i in range(len(sentence))]
    return Doc(vocab, words=tokens, sent_starts=starts)


def make_model(embed, vocab, *, seed=0, **settings):
    spacy.util.fix_random_seed(seed)
    model = BiGRUTagger(embed, 5, nO=4, **settings)
    model.initialize(X=docs(vocab))
    model.begin_update(docs(vocab))  # from now on, the words are known
    for name, parameter in network_shim(model).network.named_parameters():
        if "correction" in name or not name.endswith("table.weight"):  # a row of which pads
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def assert_same(outputs, expected):
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# --- what prediction keeps of words


def warmed_up(model, batch):
    model.predict(batch)
    assert len(network_shim(model).cache) == len({token.text for doc in batch for token in doc})


def assert_fresh(model, batch):
    """What the model predicts now is what it would without anything kept."""
    now = model.predict(batch)
    network_shim(model).cache.clear()
    network_shim(model).network.train()
    assert_same(now, model.predict(batch))
    return now


def test_a_word_is_embedded_once_over_batches(all_embeddings, monkeypatch):
    vocab = docs()[0].vocab
    model = make_model(all_embeddings, vocab, by_sentence=True, occurrences=2)
    read = []
    prepare = NetworkShim.prepare
    monkeypatch.setattr(
        NetworkShim, "prepare", lambda shim, words: read.append(words) or prepare(shim, words)
    )
    texts = [["Ada", "saw", "Ada"], ["Ada", "slept"], ["saw", "Ada"], []]
    for text in texts:
        model.predict([Doc(vocab, words=text)])
    assert [len(next(iter(words.values()))[0]) for words in read] == [2, 1]


def test_many_new_words_are_prepared_in_parts(all_embeddings, monkeypatch):
    vocab = docs()[0].vocab
    model = make_model(all_embeddings, vocab, by_sentence=True, occurrences=2)
    batch = [
        Doc(vocab, words=["Ada", "and", "Eva", "saw", "Ada", "in", "Rome", "."]),
        Doc(vocab, words=["Eva"]),
    ]
    at_once = model.predict(batch)
    network_shim(model).cache.clear()
    read = []
    prepare = NetworkShim.prepare
    monkeypatch.setattr(
        NetworkShim, "prepare", lambda shim, words: read.append(words) or prepare(shim, words)
    )
    monkeypatch.setattr(batches, "_WORDS_AT_ONCE", 3)
    assert_same(model.predict(batch), at_once)
    assert [len(next(iter(words.values()))[0]) for words in read] == [3, 3, 1]
    network_shim(model).cache.clear()
    network_shim(model).cache.max_bytes = 300  # less than one word
    assert_same(model.predict(batch), at_once)


def test_predictions_do_not_depend_on_what_is_kept(all_embeddings):
    batch = docs()
    model = make_model(all_embeddings, batch[0].vocab, by_sentence=True, occurrences=2)
    cold = model.predict(batch)
    warmed_up(model, batch)
    assert_same(model.predict(batch), cold)
    network_shim(model).cache.max_bytes = 300  # less than one word
    network_shim(model).cache.clear()
    assert_same(model.predict(batch), cold)


def train_a_step(model, batch):
    output, backprop = model.begin_update(batch)
    backprop([np.ones_like(array) for array in output])
    model.finish_update(Adam(0.1))


def swap_in_averages(model, batch):
    optimizer = Adam(0.1, use_averages=True)
    for _ in range(2):
        output, backprop = model.begin_update(batch)
        backprop([np.ones_like(array) for array in output])
        model.finish_update(optimizer)
    model.predict(batch)
    with model.use_params(optimizer.averages):
        assert_fresh(model, batch)


def load_another(model, batch):
    embed = words() if "words" in network_shim(model).network.embed else characters()
    other = make_model(embed, batch[0].vocab, seed=5)
    model.from_bytes(other.to_bytes())


def characters():
    return {"characters": char_embed(window=3)}


@pytest.mark.parametrize("embed", [words, characters])
def test_what_is_kept_goes_when_the_weights_change(embed):
    for change in (train_a_step, swap_in_averages, load_another):
        batch = docs()
        model = make_model(embed(), batch[0].vocab)
        before = model.predict(batch)
        change(model, batch)
        after = assert_fresh(model, batch)
        assert np.abs(np.concatenate(after) - np.concatenate(before)).max() > 1e-3, change


def add_a_vector(vocab):
    vocab.set_vector("slept", np.full(3, 9.0, dtype="f"))


def replace_the_table(vocab):
    vocab.vectors.data = vocab.vectors.data + 1.0


def replace_the_vectors(vocab):
    vocab.vectors = Vectors(data=vocab.vectors.data + 1.0, keys=list(vocab.vectors.keys()))


@pytest.mark.parametrize("change", [add_a_vector, replace_the_table, replace_the_vectors])
def test_what_is_kept_goes_when_the_vectors_change(change):
    vocab = spacy.blank("en").vocab
    vocab.vectors = Vectors(shape=(20, 3))
    vocab.set_vector("Ada", np.ones(3, dtype="f"))
    model = make_model({"vectors": VectorsEmbed(fallback=False, correction_rows=0)}, vocab)
    batch = [Doc(vocab, words=["Ada", "slept"])]
    before = model.predict(batch)
    change(vocab)
    after = assert_fresh(model, batch)
    assert np.abs(after[0] - before[0]).max() > 1e-3


def test_a_copy_keeps_words_of_its_own():
    batch = docs()
    model = make_model(words(), batch[0].vocab)
    expected = model.predict(batch)
    copy = model.copy()
    assert len(network_shim(copy).cache) == 0
    assert_same(copy.predict(batch), expected)
    train_a_step(copy, batch)
    assert_same(model.predict(batch), expected)


@pytest.mark.parametrize("by_sentence", [True, False])
@pytest.mark.parametrize("pools", [{}, {"occurrences": 3}, {"occurrences": 3, "global_context": 2}])
def test_all_embeddings_are_exact_under_batching(all_embeddings, by_sentence, pools):
    vocab = docs()[0].vocab
    vocab.set_vector("Ada", np.array([0.5, -0.5], dtype="float32"))
    model = make_model(all_embeddings, vocab, by_sentence=by_sentence, **pools)
    sentences = [text.split() for text in TEXTS]
    batch = [
        with_sentences(vocab, *sentences),
        Doc(vocab),
        *docs(vocab),
        Doc(vocab, words=["Ada"]),
        Doc(vocab, words=["ADA", "never", "seen", "New", "York", "City", "in", "ada"]),
        with_sentences(vocab, sentences[1], sentences[1], ["Bob"]),
    ]
    together = model.predict(batch)
    assert [len(logits) for logits in together] == [len(doc) for doc in batch]
    alone = [model.predict([doc])[0] if len(doc) else np.zeros((0, 4)) for doc in batch]
    assert_same(together, alone)
    assert_same(model.predict(batch[::-1])[::-1], alone)


def test_by_sentence_encodes_a_doc_as_its_sentences_alone(all_embeddings):
    vocab = docs()[0].vocab
    sentences = [["Ada", "saw", "New"], ["York", "City", "."], ["Oslo"]]
    joined = with_sentences(vocab, *sentences)
    unknown = Doc(vocab, words=[token.text for token in joined])
    single = [Doc(vocab, words=sentence) for sentence in sentences]
    apart, whole = (make_model(all_embeddings, vocab, by_sentence=flag) for flag in (True, False))
    expected = np.concatenate(apart.predict(single))
    assert_same(apart.predict([joined]), [expected])
    assert_same(whole.predict(single), apart.predict(single))
    # Without sentence starts, they are guessed.
    guessed = with_sentences(vocab, [*sentences[0], *sentences[1]], sentences[2])
    assert_same(apart.predict([unknown]), apart.predict([guessed]))
    # Without the setting, the context is the Doc.
    assert_same(whole.predict([unknown]), whole.predict([joined]))
    assert np.abs(whole.predict([joined])[0] - expected).max() > 1e-3


def test_occurrences_bring_evidence_from_other_sentences_of_the_doc():
    vocab = docs()[0].vocab
    model = make_model(words(), vocab, by_sentence=True, occurrences=3)
    first, second, other = ["Ada", "left"], ["now", "ADA", "wrote"], ["Bob", "wrote"]
    pair, apart = with_sentences(vocab, first, second), with_sentences(vocab, first, other)
    single = model.predict([Doc(vocab, words=first)])[0]
    with_evidence, without = model.predict([pair])[0], model.predict([apart])[0]
    assert np.abs(with_evidence[0] - single[0]).max() > 1e-4
    np.testing.assert_allclose(with_evidence[1], single[1], atol=1e-6)
    np.testing.assert_allclose(without[:2], single, atol=1e-6)


def test_global_context_is_that_of_the_whole_doc_and_of_no_other():
    vocab = docs()[0].vocab
    model = make_model(words(), vocab, by_sentence=True, global_context=3)
    first, second = ["Ada", "left"], ["Ships", "leave", "daily"]
    pair = with_sentences(vocab, first, second)
    single = model.predict([Doc(vocab, words=first)])[0]
    alone = model.predict([pair])[0]
    assert np.abs(alone[:2] - single).max() > 1e-4
    among = model.predict([Doc(vocab), with_sentences(vocab, second), Doc(vocab), pair])
    assert_same([among[3]], [alone])
    # Of a mean, the order of the sentences is lost.
    swapped = model.predict([with_sentences(vocab, second, first)])[0]
    assert_same([np.roll(swapped, 2, axis=0)], [alone])


@pytest.mark.parametrize(
    ("pools", "width"),
    [({}, 8), ({"occurrences": 3}, 5), ({"global_context": 3}, 5), ({"context_width": None}, 8)],
)
def test_context_width_is_that_of_the_states_where_there_is_context(pools, width):
    model = BiGRUTok2Vec(words(), 4, **{"context_width": 5, **pools})
    batch = docs()
    model.initialize(X=batch)
    assert model.get_dim("nO") == width
    assert {array.shape[1] for array in model.predict(batch)} == {width}


@pytest.mark.parametrize("architecture", [BiGRUTagger, BiGRUTok2Vec])
@pytest.mark.parametrize("texts", [[[]], [[], []], [[], ["Ada"], []]])
def test_docs_without_tokens(architecture, texts, all_embeddings):
    vocab = docs()[0].vocab
    model = architecture(all_embeddings, 4, by_sentence=True, occurrences=2, global_context=3)
    model.initialize(X=docs(vocab), Y=[np.zeros((8, 8), dtype="float32")])
    batch = [Doc(vocab, words=text) for text in texts]
    assert [array.shape for array in model.predict(batch)] == [(len(text), 8) for text in texts]
    output, backprop = model.begin_update(batch)
    assert [array.shape for array in output] == [(len(text), 8) for text in texts]
    backprop(output)


def test_static_vectors_are_corrected_for_words_of_the_training_alone():
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("Ada", np.array([0.5, -0.5], dtype="float32"))
    nlp.vocab.set_vector("zebra", np.array([0.1, 0.7], dtype="float32"))
    embed = {"vectors": VectorsEmbed(fallback=True, correction_rows=30)}
    model = BiGRUTagger(embed, 4, nO=2)
    model.initialize(X=docs(nlp.vocab))
    _, backprop = model.begin_update(docs(nlp.vocab))
    backprop([np.ones((len(doc), 2), dtype="float32") for doc in docs(nlp.vocab)])
    model.finish_update(SGD(1.0))
    batch = [Doc(nlp.vocab, words=["ADA", "zebra", "ships", "never"])]
    read = DocReader(embed, by_sentence=False).read(batch, network_shim(model))
    module = network_shim(model).network.embed["vectors"].eval()
    static = torch.tensor([[0.5, -0.5], [0.1, 0.7], [0.0, 0.0], [0.0, 0.0]])
    static[2:] = module.unknown.detach()
    corrected = module(*read.words["vectors"])[read.index]
    assert (corrected != static).any(1).tolist() == [True, False, True, False]


# --- dropout


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((None, None, None, None), (0.3, 0.3, 0.3, 0.3)),
        ((0.05, None, 0.0, 0.0), (0.05, 0.3, 0.0, 0.0)),
        ((0.0, 0.6, 0.7, 0.8), (0.0, 0.6, 0.7, 0.8)),
    ],
)
def test_null_follows_the_training_dropout(settings, expected):
    assert DropoutSettings(*settings).rates(0.3) == Dropout(*expected)


KINDS = ["word_dropout", "input_dropout", "hidden_dropout", "recurrent_dropout"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [None, 0.0, 0.5])
def test_dropout_reaches_the_network(kind, rate):
    rates = {**dict.fromkeys(KINDS, 0.0), kind: rate}
    nlp = build("bigru_tagger", model={**TINY, **rates})
    pipe = nlp.get_pipe("bigru_tagger")
    batch = docs(nlp.vocab)
    pipe.model.begin_update(batch)  # from now on, the words are known
    predicted = np.concatenate(pipe.model.predict(batch))
    for training_dropout in (0.0, 0.9):
        losses = []
        for _ in range(3):
            result = nlp.update(read_examples(nlp.vocab), drop=training_dropout, sgd=SGD(0.0))
            losses.append(result["bigru_tagger"])
        # It acts where its rate is not zero; and the loss then changes from pass to pass.
        acts = (training_dropout if rate is None else rate) > 0.0
        assert (len(set(losses)) > 1) == acts
        training, _ = pipe.model.begin_update(batch)
        assert np.allclose(np.concatenate(training), predicted, atol=1e-6) != acts
    # Prediction directly after training has no dropout.
    np.testing.assert_allclose(np.concatenate(pipe.model.predict(batch)), predicted, atol=1e-6)


def test_prediction_right_behind_training_neither_drops_nor_learns_words():
    model = {**TINY, "embed": {"words": {**TINY["embed"]["words"], "unknown_rate": 0.5}}}
    nlp = build("bigru_tagger", model=model)
    train(nlp, steps=3)
    pipe = nlp.get_pipe("bigru_tagger")
    batch = [*docs(nlp.vocab), Doc(nlp.vocab, words=["never", "seen"])]
    first, second = (np.concatenate(pipe.model.predict(batch)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_dropout_of_the_training_block_reaches_the_network(monkeypatch, tmp_path):
    seen = set()
    begin_update = NetworkShim.begin_update

    def spy(self, batch, dropout):
        seen.add(dropout)
        return begin_update(self, batch, dropout)

    monkeypatch.setattr(NetworkShim, "begin_update", spy)
    nlp = build("bigru_tagger", model={**TINY, "word_dropout": 0.125})
    spacy.registry.readers(
        "test_architectures.v1", func=lambda: lambda nlp: iter(read_examples(nlp.vocab))
    )
    config = nlp.config.copy()
    for name in ("train", "dev"):
        config["corpora"][name] = {"@readers": "test_architectures.v1"}
    config["training"] |= {"dropout": 0.25, "max_steps": 2, "eval_frequency": 2}
    config["training"]["logger"] = {
        "@loggers": "spacy.ConsoleLogger.v1",
        "progress_bar": False,
    }
    train_loop(init_nlp(config), tmp_path)
    assert seen == {Dropout(word=0.125, input=0.25, hidden=0.25)}
    assert (tmp_path / "model-best").exists()


# --- the encoder on its own

SPACYS = {
    "tagger": {"@architectures": "spacy.Tagger.v2"},
    "ner": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
    },
    "textcat": {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
    },
}


def with_encoder(factory, seed=0, **encode):
    tok2vec = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": 16,
            "attrs": ["NORM", "SHAPE"],
            "rows": [200, 100],
            "include_static_vectors": False,
        },
        "encode": {"@architectures": "bigru_tagger.BiGRUEncoder.v1", "width": 16, **encode},
    }
    spacy.util.fix_random_seed(seed)
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, config={"model": {**SPACYS[factory], "tok2vec": tok2vec}})
    nlp.initialize(lambda: categorised(nlp.vocab))
    return nlp


def categorised(vocab):
    examples = read_examples(vocab)
    for example, (_, entities, *_) in zip(examples, SENTENCES, strict=True):
        example.reference.cats = {"yes": float(bool(entities)), "no": float(not entities)}
    return examples


def results(nlp):
    found = nlp.pipe(docs(nlp.vocab))
    return [
        ([t.tag_ for t in doc], [(e.start, e.end, e.label_) for e in doc.ents], doc.cats)
        for doc in found
    ]


@pytest.mark.parametrize("factory", SPACYS)
def test_encoder_drives_spacys_own_components(factory, tmp_path):
    nlp = with_encoder(factory)
    optimizer = Adam(0.01)
    for _ in range(80):
        losses = nlp.update(categorised(nlp.vocab), sgd=optimizer)
    assert losses[factory] < 0.1
    for example, (tags, entities, cats) in zip(categorised(nlp.vocab), results(nlp), strict=True):
        gold = example.reference
        if factory == "tagger":
            assert tags == [token.tag_ for token in gold]
        elif factory == "ner":
            assert entities == [(e.start, e.end, e.label_) for e in gold.ents]
        else:
            assert cats == pytest.approx(gold.cats, abs=0.2)
    nlp.to_disk(tmp_path)
    other = with_encoder(factory, seed=1)
    assert results(other) != results(nlp)
    for loaded in (spacy.load(tmp_path), other.from_disk(tmp_path)):
        for (*annotation, cats), (*expected, expected_cats) in zip(
            results(loaded), results(nlp), strict=True
        ):
            assert annotation == expected
            assert cats == pytest.approx(expected_cats, abs=1e-6)


@pytest.mark.parametrize(
    "encode", [{}, {"depth": 2}, {"cell": "lstm"}, {"bidirectional": False}], ids=str
)
def test_encoder_does_not_depend_on_the_batch(encode):
    nlp = with_encoder("tagger", **encode)
    tok2vec = nlp.get_pipe("tagger").model.get_ref("tok2vec")
    batch = [*docs(nlp.vocab), Doc(nlp.vocab), Doc(nlp.vocab, words=["Ada"])]
    alone = [tok2vec.predict([doc])[0] for doc in batch if len(doc)]
    together = [vectors for vectors in tok2vec.predict(batch) if len(vectors)]
    backwards = tok2vec.predict(batch[::-1])[::-1]
    for one, among, reversed_ in zip(alone, together, backwards[:4] + backwards[5:], strict=True):
        np.testing.assert_allclose(among, one, atol=1e-6)
        np.testing.assert_allclose(reversed_, one, atol=1e-6)


def test_encoders_gradient_is_that_of_finite_differences():
    model = BiGRUEncoder(4, hidden_dropout=0.0)
    model.initialize()
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(n, 4)).astype("float32") for n in (3, 0, 1)]
    weights = [rng.normal(size=(n, 4)).astype("float32") for n in (3, 0, 1)]

    def loss(arrays):
        return sum((y * w).sum() for y, w in zip(model.predict(arrays), weights, strict=True))

    _, backprop = model.begin_update(inputs)
    gradients = backprop(weights)
    assert [gradient.shape for gradient in gradients] == [(3, 4), (0, 4), (1, 4)]
    for which, row, column in [(0, 0, 0), (0, 2, 3), (2, 0, 1)]:
        shifted = [[array.copy() for array in inputs] for _ in range(2)]
        shifted[0][which][row, column] += 0.01
        shifted[1][which][row, column] -= 0.01
        slope = (loss(shifted[0]) - loss(shifted[1])) / 0.02
        assert gradients[which][row, column] == pytest.approx(slope, abs=2e-3)


# --- an upstream tok2vec inline


def inline(seed=0):
    tok2vec = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 16,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
    }
    embed = {"cnn": {"@misc": "bigru_tagger.Tok2VecEmbed.v1", "tok2vec": tok2vec}}
    return build("bigru_ner", model={**TINY, "embed": embed}, seed=seed)


def test_an_inline_tok2vec_is_trained_along_and_stored(tmp_path):
    nlp = inline()
    pipe = nlp.get_pipe("bigru_ner")
    assert pipe.model.get_ref("tok2vec") is pipe.model.layers[0]
    before = [vectors.copy() for vectors in pipe.model.layers[0].predict(docs(nlp.vocab))]
    optimizer = Adam(0.01)
    assert train(nlp, sgd=optimizer)["bigru_ner"] < 0.01
    after = pipe.model.layers[0].predict(docs(nlp.vocab))
    assert all(np.abs(new - old).max() > 0.05 for old, new in zip(before, after, strict=True))
    gold = [[str(ent) for ent in example.reference.ents] for example in read_examples(nlp.vocab)]
    assert [[str(ent) for ent in nlp(doc).ents] for doc in docs(nlp.vocab)] == gold

    with nlp.use_params(optimizer.averages):
        nlp.to_disk(tmp_path)
        expected = pipe.logits(docs(nlp.vocab))
    for loaded in (spacy.load(tmp_path), inline(seed=1).from_disk(tmp_path)):
        again = loaded.get_pipe("bigru_ner").logits(docs(loaded.vocab))
        for one, other in zip(again, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_rehearsal_reaches_an_inline_tok2vec():
    nlp = inline()
    pipe = nlp.get_pipe("bigru_ner")
    train(nlp, steps=5)
    optimizer = nlp.resume_training(sgd=Adam(0.01))
    train(nlp, steps=5, sgd=optimizer)
    before = [vectors.copy() for vectors in pipe.model.layers[0].predict(docs(nlp.vocab))]
    nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)
    after = pipe.model.layers[0].predict(docs(nlp.vocab))
    assert all(np.abs(new - old).max() > 1e-3 for old, new in zip(before, after, strict=True))


# --- BiGRUTok2Vec


def test_tok2vec_puts_hidden_states_out():
    model = BiGRUTok2Vec(words(), [6, 4])
    model.initialize(X=docs())
    assert model.get_dim("nO") == 8
    batch = [*docs(), Doc(docs()[0].vocab)]
    assert [vectors.shape for vectors in model.predict(docs())] == [(8, 8), (7, 8), (4, 8), (8, 8)]
    assert all(np.abs(vectors).max() <= 1.0 for vectors in model.predict(docs()))
    output, backprop = model.begin_update(batch[-1:])
    assert [vectors.shape for vectors in output] == [(0, 8)]
    backprop(output)
