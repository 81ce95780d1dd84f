import re

from oracle import evaluate_sentences
from samples import TINY, build, parameters
from spacy.lang.en import English

from bigru_tagger.corpus.fingerprint import fingerprint
from bigru_tagger.report.provenance import describe_evaluation, n_parameters, size_on_disk


def test_parameters_are_those_of_our_networks():
    nlp = build("bigru_ner", model=TINY)
    nlp.add_pipe("sentencizer")
    expected = sum(own.numel() for own in parameters(nlp.get_pipe("bigru_ner")).values())
    assert n_parameters(nlp) == {"bigru_ner": expected}
    assert expected > 1000
    other = English()
    other.add_pipe("ner")
    assert n_parameters(other) == {}


def test_size_of_a_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    assert size_on_disk(tmp_path) == 8


def test_description_of_an_evaluation(tmp_path):
    model, data = tmp_path / "model", tmp_path / "data.conll"
    English().to_disk(model)
    data.write_text("Ada B-PER\n", encoding="utf8")
    evaluation = evaluate_sentences(
        ("Ada left", [(0, 1, "PER")], []), model=str(model), data=str(data), split="test"
    )
    about = describe_evaluation(
        English().from_disk(model), evaluation, command="c", train=("conll2003", "train")
    )
    assert about["model"] == f"{model} ({fingerprint(str(model))})"
    assert about["data"] == f"{data}, split test ({fingerprint(str(data))})"
    assert about["training data"] == "conll2003, split train"
    assert about["Docs"] == "1 with 2 tokens"
    assert about["components"] == "tests_oracle"
    assert about["command"] == "c"
    assert about["speed"].startswith(f"{evaluation.words_per_second:,.0f} words/s: 2 tokens in ")
    assert f"spacy {evaluation.versions['spacy']}" in about["versions"]


def test_data_without_splits():
    evaluation = evaluate_sentences(("Ada left", [(0, 1, "PER")], []), data="dev.conll", split="")
    about = describe_evaluation(None, evaluation, train=("train.conll", ""))
    assert (about["data"], about["training data"]) == ("dev.conll", "train.conll")


def test_size_of_a_pipeline(tmp_path):
    nlp = build("bigru_ner", model=TINY)
    evaluation = evaluate_sentences(("Ada left", [(0, 1, "PER")], []))
    assert describe_evaluation(nlp, evaluation, command="c")["size"] == (
        f"{n_parameters(nlp)['bigru_ner']:,} parameters in bigru_ner"
    )
    nlp = English()
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "model" / "large").write_bytes(bytes(3 * 2**20))
    size = describe_evaluation(English().from_disk(tmp_path / "model"), evaluation, command="c")
    assert re.fullmatch(r"3\.\d MiB on disk", size["size"])
