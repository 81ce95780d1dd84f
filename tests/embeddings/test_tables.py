import json
import shutil

import numpy as np
import pytest
import spacy
import torch
from samples import NARROW, SENTENCES, TEXTS, TINY, WORDS, build, train
from spacy.tokens import Doc
from thinc.api import Adam

from bigru_tagger.embeddings.base import UniqueWords
from bigru_tagger.embeddings.clusters import ClusterEmbed, ClusterEmbedding
from bigru_tagger.embeddings.gazetteer import GazetteerEmbed, GazetteerEmbedding
from bigru_tagger.embeddings.resources import ResourceError
from bigru_tagger.embeddings.vector_file import VectorFileEmbed, VectorFileEmbedding
from bigru_tagger.model.architectures import BiGRUTagger
from bigru_tagger.model.batches import DocReader
from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.model.thinc_model import network_shim
from bigru_tagger.network.embeddings.lookup import look_up
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.spec import NetworkSpec

VECTORS = "Oslo 1 2\nlondon 3 4\nAda 5 6\nada 7 8\n00 9 10\n"
PATHS = "0010\tOslo\t5\n0011\tlondon\t5\n01\tada\t5\n1\tships\t5\n"
LISTS = {"LOC": "New York City\nLondon\nOslo\n", "PER": "Ada Lovelace\nBob\nLondon\n"}


@pytest.fixture
def files(tmp_path):
    """Files of vectors, clusters and phrases, in a folder of their own."""
    folder = tmp_path / "sources"
    (folder / "lists").mkdir(parents=True)
    (folder / "vectors.txt").write_text(VECTORS, encoding="utf-8")
    (folder / "paths").write_text(PATHS, encoding="utf-8")
    for name, phrases in LISTS.items():
        (folder / "lists" / f"{name}.txt").write_text(phrases, encoding="utf-8")
    return folder


def embed(embedding, *texts):
    """Embed the words of texts by a network of nothing else. RETURNS: the module, its output."""
    vocab = spacy.blank("en").vocab
    spec = {"it": embedding.network_spec(vocab)}
    assert json.loads(json.dumps(spec)) == spec
    network = Network(NetworkSpec(spec, []))
    network.fill({"it": embedding.tensors(vocab)})
    docs = [Doc(vocab, words=text) for text in texts]
    shim = NetworkShim(network)
    batch = DocReader({"it": embedding}, by_sentence=False).read(docs, shim)
    return network.embed["it"], network(batch).detach().numpy()


def test_vectors_of_a_file_by_the_best_form_of_the_word(files):
    texts = [["Oslo", "OSLO", "oslo"], [], ["LONDON", "London", "Ada", "ADA", "17", "zebra"]]
    module, vectors = embed(VectorFileEmbedding(str(files / "vectors.txt"), 0), *texts)
    assert vectors.tolist() == [
        [1.0, 2.0],
        [1.0, 2.0],  # capitalised
        [1.0, 2.0],
        [3.0, 4.0],
        [3.0, 4.0],
        [5.0, 6.0],
        [7.0, 8.0],  # in lower case before capitalised
        [9.0, 10.0],
        [0.0, 0.0],
    ]
    assert module.width == 2
    assert (module.keys.diff() > 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_half_precision_is_kept(tmp_path, dtype):
    np.save(tmp_path / "v.npy", np.array([[0.1, 2.0]], dtype=dtype))
    (tmp_path / "words.txt").write_text("word\n", encoding="utf-8")
    module, vectors = embed(VectorFileEmbedding(str(tmp_path), 0), ["word"])
    assert str(module.table.dtype) == f"torch.{dtype}"
    assert vectors.tolist() == np.array([[0.1, 2.0]], dtype=dtype).astype("float32").tolist()


def test_cluster_prefixes_by_hand(files):
    """Paths are 0010 Oslo, 0011 London, 01 Ada, 1 ships."""
    clusters = ClusterEmbedding(str(files / "paths"), prefixes=[1, 3, 4], width=2)
    words = ["Oslo", "London", "Ada", "Ships", "zebra"]
    module, vectors = embed(clusters, words)
    assert module.width == vectors.shape[1] == 6
    by_word = dict(zip(words, vectors.reshape(5, 3, 2).tolist(), strict=True))
    # For each length of prefix, the words that share it: of one path, and only of one.
    for prefix, alike in enumerate(
        [
            [{"Oslo", "London", "Ada"}, {"Ships"}, {"zebra"}],
            [{"Oslo", "London"}, {"Ada"}, {"Ships"}, {"zebra"}],
            [{"Oslo"}, {"London"}, {"Ada"}, {"Ships"}, {"zebra"}],
        ]
    ):
        vectors_of = [{tuple(by_word[word][prefix]) for word in group} for group in alike]
        assert all(len(distinct) == 1 for distinct in vectors_of)
        assert len(set.union(*vectors_of)) == len(alike)
    # 3 + 4 + 5 prefixes, unknown words' included, and every row is of one of them.
    assert module.table.weight.shape == (12, 2)
    assert sorted(set(module.rows.flatten().tolist())) == list(range(12))


def test_words_of_one_cluster_and_no_word_known(tmp_path):
    (tmp_path / "paths").write_text("0\ta\n0\tb\n", encoding="utf-8")
    _, vectors = embed(ClusterEmbedding(str(tmp_path / "paths"), [4], 3), ["a", "b", "x", "y"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[2], vectors[3])
    assert (vectors[0] != vectors[2]).all()


def test_clusters_of_the_vocab():
    vocab = spacy.blank("en").vocab
    vocab.lookups.add_table("lexeme_cluster", {"the": 0b01, "a": 0b11, "dog": 0b10})
    clusters = ClusterEmbedding("lexeme_cluster", [1, 2], 4)
    # Prefixes 0 and 1, then 01, 10 and 11, and one more each for unknown words.
    assert clusters.network_spec(vocab) == {
        "kind": "clusters",
        "n_words": 3,
        "n_clusters": 3,
        "n_prefixes": 2,
        "n_rows": 7,
        "width": 4,
    }
    buffers = clusters.tensors(vocab)
    # Paths 10, 01 and 11, the numbers' lowest bits first; the last row is of unknown words.
    assert buffers["rows"].tolist() == [[2, 4], [1, 5], [2, 6], [0, 3]]
    keys = [vocab.strings[word] for word in ("the", "dog", "a")]
    by_key = dict(zip(buffers["keys"].view(np.uint64).tolist(), buffers["clusters"], strict=True))
    assert [by_key[key] for key in keys] == [0, 1, 2]
    assert (np.diff(buffers["keys"].astype(object)) > 0).all()


def test_phrases_of_a_folder(files):
    gazetteer = GazetteerEmbedding(str(files / "lists"), width=5, max_words=4)
    module, vectors = embed(gazetteer, ["NEW", "York", "City", "loves", "London"], ["Oslo"])
    weight, bias = (parameter.detach().numpy() for parameter in module.linear.parameters())
    marks = np.zeros((6, 2, 4))  # LOC, PER; begins, inside, ends, single token
    marks[0, 0, 0] = marks[1, 0, 1] = marks[2, 0, 2] = 1
    marks[4, :, 3] = marks[5, 0, 3] = 1
    np.testing.assert_allclose(vectors, marks.reshape(6, 8) @ weight.T + bias, atol=1e-6)
    assert gazetteer.network_spec(spacy.blank("en").vocab)["lists"] == ["LOC", "PER"]


def test_the_string_store_does_not_grow(files):
    vocab = spacy.blank("en").vocab
    words = UniqueWords.from_docs([Doc(vocab, words=["Zyxwv", "17"])])
    before = len(vocab.strings)
    for embedding in (
        VectorFileEmbedding(str(files / "vectors.txt"), 0),
        ClusterEmbedding(str(files / "paths"), [4], 2),
        GazetteerEmbedding(str(files / "lists"), 2, 4),
    ):
        embedding.network_spec(vocab)
        embedding.tensors(vocab)
        assert embedding.read(words).dtype == np.int64
    assert len(vocab.strings) == before


def test_a_table_is_read_once_and_let_go(files):
    vocab = spacy.blank("en").vocab
    embedding = VectorFileEmbedding(str(files / "vectors.txt"), 0)
    embedding.network_spec(vocab)
    shutil.rmtree(files)
    assert embedding.tensors(vocab)["table"].shape == (5, 2)
    with pytest.raises(ResourceError, match="no vectors at"):
        embedding.tensors(vocab)


@pytest.mark.parametrize(
    ("build_embedding", "message"),
    [
        (lambda: ClusterEmbedding("x", [], 4), r"'prefixes' .* got prefixes = \[\], width = 4"),
        (lambda: ClusterEmbedding("x", [0], 4), r"from 1 to 62 bits.*\[0\]"),
        (lambda: ClusterEmbedding("x", [4, 63], 4), r"from 1 to 62 bits.*\[4, 63\]"),
        (lambda: ClusterEmbedding("x", [4], 0), "'width' must be positive.*width = 0"),
        (lambda: VectorFileEmbedding("x", -1), "VectorFileEmbed: 'correction_rows' .* 0; got -1"),
        (lambda: GazetteerEmbedding("x", 0, 4), "'width' .* got width = 0"),
        (lambda: GazetteerEmbedding("x", 4, 0), "'max_words' .* max_words = 0"),
    ],
)
def test_settings_that_do_not_fit(build_embedding, message):
    with pytest.raises(ValueError, match=message):
        build_embedding()


@pytest.mark.parametrize(
    "embedding",
    [VectorFileEmbed("none", 0), ClusterEmbed("none", [4], 4), GazetteerEmbed({"X": "none"}, 4, 4)],
)
def test_missing_sources_are_named_at_initialisation(embedding):
    model = BiGRUTagger({"it": embedding}, 4, nO=2)
    doc = Doc(spacy.blank("en").vocab, words=["a"])
    with pytest.raises(ResourceError, match="'none'"):
        model.initialize(X=[doc])
    assert not network_shim(model).is_initialised


# --- trained pipelines


def settings_of(kind, files):
    source = {
        "VectorFile": "vectors.txt",
        "Cluster": "paths",
        "Gazetteer": "lists",
    }
    block = {"@misc": f"bigru_tagger.{kind}Embed.v1"}
    if kind in source:
        block["source"] = str(files / source[kind])
    return (
        block
        | {
            "VectorFile": {"correction_rows": 50},
            "Cluster": {"prefixes": [2, 4], "width": 4},
            "Gazetteer": {"width": 4, "max_words": 4},
            "CharGRU": {
                "width": 8,
                "hidden": 8,
                "rows": 256,
                "max_length": 12,
                "fold_digits": True,
            },
        }[kind]
    )


@pytest.mark.parametrize("kind", ["VectorFile", "Cluster", "Gazetteer", "CharGRU"])
def test_a_trained_pipeline_needs_no_files(kind, files, tmp_path):
    model = {**TINY, "embed": {"words": WORDS, "further": settings_of(kind, files)}}
    nlp = build("bigru_ner", model=model)
    assert train(nlp)["bigru_ner"] < 0.05
    texts = [*TEXTS, "Unheard of in London , Ada left NEW York City 17", ""]
    expected = list(nlp.pipe(texts))
    found = [[(ent.text, ent.label_) for ent in doc.ents] for doc in expected[:4]]
    assert found == [
        [(" ".join(words.split()[start:end]), label) for start, end, label in entities]
        for words, entities, *_ in SENTENCES
    ]
    logits = nlp.get_pipe("bigru_ner").logits([nlp.make_doc(text) for text in texts])

    nlp.to_disk(tmp_path / "model")
    shutil.rmtree(files)
    data = nlp.to_bytes()
    from_disk = spacy.load(tmp_path / "model")
    from_bytes = spacy.blank("en").from_config(nlp.config).from_bytes(data)
    for loaded in (from_disk, from_bytes):
        again = loaded.get_pipe("bigru_ner").logits([loaded.make_doc(text) for text in texts])
        for one, other in zip(again, logits, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        for one, other in zip(loaded.pipe(texts), expected, strict=True):
            assert one.to_json() == other.to_json()


def test_each_embedding_has_a_part_in_the_gradient(files):
    blocks = {kind: settings_of(kind, files) for kind in ("VectorFile", "Cluster", "Gazetteer")}
    pools = {"occurrences": 4, "global_context": 3}
    nlp = build("bigru_ner", model={**NARROW, "embed": blocks, **pools})
    pipe = nlp.get_pipe("bigru_ner")
    before = {
        name: value.clone() for name, value in network_shim(pipe.model).network.state_dict().items()
    }
    train(nlp, steps=2)
    after = network_shim(pipe.model).network.state_dict()
    changed = {name for name, value in after.items() if not value.equal(before[name])}
    assert changed >= {
        "embed.VectorFile.unknown",
        "embed.VectorFile.correction.table.weight",
        "embed.VectorFile.correction.seen",
        "embed.Cluster.table.weight",
        "embed.Gazetteer.linear.weight",
        "context.project.occurrences.weight",
        "context.project.global_context.weight",
        "context.combine.weight",
    }
    assert not changed & {
        "embed.VectorFile.table",
        "embed.VectorFile.keys",
        "embed.Cluster.rows",
        "embed.Cluster.clusters",
        "embed.Gazetteer.keys",
        "embed.Gazetteer.lists",
    }


def test_training_corrects_the_vectors_of_the_words_it_sees_and_no_others(files):
    nlp = build("bigru_ner", model={**TINY, "embed": {"it": settings_of("VectorFile", files)}})
    pipe = nlp.get_pipe("bigru_ner")
    module = network_shim(pipe.model).network.embed["it"].eval()
    words = UniqueWords.from_docs(
        [Doc(nlp.vocab, words=["Ada", "OSLO", "ada", "near", "00", "zebra"])]
    )
    candidates = torch.from_numpy(words.candidates.view(np.int64))

    def corrections():
        vectors = module.eval()(candidates).detach()
        rows, known = look_up(module.keys, candidates)
        static = torch.where(known.unsqueeze(1), module.table[rows].float(), module.unknown)
        return dict(zip(words.strings, (vectors - static.detach()).tolist(), strict=True))

    assert set(map(tuple, corrections().values())) == {(0.0, 0.0)}
    train(nlp, steps=5)
    after = corrections()
    assert {word for word, correction in after.items() if any(correction)} == {
        "Ada",
        "OSLO",
        "ada",
        "near",
    }
    assert after["Ada"] == pytest.approx(after["ada"], abs=1e-6)
    # Weight decay restores the static vectors.
    optimizer = Adam(0.01, L2=10.0, L2_is_weight_decay=True, use_averages=False)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pipe.model.finish_update(optimizer)
    shrunk = corrections()
    for word, correction in after.items():
        assert shrunk[word] == pytest.approx([0.9 * unit for unit in correction], abs=1e-5)
