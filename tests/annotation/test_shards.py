import json

import pyarrow.parquet
import pytest
import spacy
from datasets import load_dataset
from samples import SENTENCES, TEXTS
from spacy.tokens import DocBin

from bigru_tagger import Annotator
from bigru_tagger.annotation.inputs import Inputs
from bigru_tagger.annotation.shards import Manifest, Result, annotate_shard, cut


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = [TEXTS[0], None, TEXTS[1], TEXTS[2]]
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def shards(path, size=10**6):
    return list(cut(Inputs([str(path)]), size))


def test_rows_are_cut_by_their_size(rows):
    (whole,) = shards(rows)
    sizes = [len(line) for line in rows.read_bytes().splitlines(keepends=True)]
    assert whole.n_bytes == sum(sizes)
    assert [len(shard.rows) for shard in shards(rows, size=1)] == [1, 1, 1, 1]
    parts = shards(rows, size=sizes[0] + sizes[1])
    assert [len(shard.rows) for shard in parts] == [2, 2]
    assert [shard.number for shard in parts] == [0, 1]
    assert sum(shard.n_bytes for shard in parts) == whole.n_bytes
    assert parts == shards(rows, size=sizes[0] + sizes[1])
    rows.write_text(rows.read_text().replace("Ada", "Eve"))
    changed = shards(rows, size=sizes[0] + sizes[1])
    assert changed[0].digest != parts[0].digest
    assert changed[1].digest == parts[1].digest


def test_json_lines(model, rows, tmp_path):
    annotator = Annotator(model)
    (shard,) = shards(rows)
    result = annotate_shard(annotator, shard, tmp_path, "jsonl")
    found = read_lines(tmp_path / "part-00000.jsonl")
    assert [row["id"] for row in found] == [0, 2, 3]
    expected = annotator({"text": [row["text"] for row in found]})
    for i, row in enumerate(found):
        for name in annotator.columns:
            assert row[name] == pytest.approx(expected[name][i].tolist())
    tokens = [len(TEXTS[i].split()) for i in (0, 1, 2)]
    source = f"{rows}:2"
    assert result == Result(
        shard=0,
        digest=shard.digest,
        rows=3,
        tokens=sum(tokens),
        errors=[{"source": source, "error": "None is neither a text nor a list of tokens"}],
        cut=0,
    )


def test_parquet(model, rows, tmp_path):
    annotator = Annotator(model, keep=["id"])
    (shard,) = shards(rows)
    annotate_shard(annotator, shard, tmp_path, "parquet")
    path = tmp_path / "part-00000.parquet"
    found = pyarrow.parquet.read_table(path)
    assert found.column_names == ["id", *annotator.columns]
    assert found["id"].to_pylist() == [0, 2, 3]
    assert found["label"].to_pylist() == [["PER", "PER", "LOC"], ["LOC"], []]
    assert found["tags"].to_pylist()[1] == SENTENCES[1][3].split()
    kinds = {"int64": "int64", "float64": "double", "str": "string"}
    for name, of in annotator.columns.items():
        assert str(found.schema.field(name).type.value_type) == kinds[of]
    cache = str(tmp_path / "cache")
    data = load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)
    assert data["start"] == found["start"].to_pylist()


def test_spacy(model, rows, tmp_path):
    (shard,) = shards(rows)
    annotate_shard(Annotator(model), shard, tmp_path, "spacy")
    nlp = spacy.blank("en")
    found = list(DocBin().from_disk(tmp_path / "part-00000.spacy").get_docs(nlp.vocab))
    assert [doc.text for doc in found] == [TEXTS[0], TEXTS[1], TEXTS[2]]
    for doc, (_, ents, chunks, tags) in zip(found, SENTENCES, strict=False):
        assert [(ent.start, ent.end, ent.label_) for ent in doc.ents] == ents
        assert [(s.start, s.end, s.label_) for s in doc.spans["chunks"]] == chunks
        assert [token.tag_ for token in doc] == tags.split()
        assert all(0 < ent._.confidence <= 1 for ent in doc.ents)


def test_unknown_confidence_is_null(tmp_path):
    nlp = spacy.blank("en")
    rules = nlp.add_pipe("span_ruler", config={"spans_key": "places"})
    rules.add_patterns([{"label": "LOC", "pattern": "Oslo"}])
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "a.txt").write_text("Oslo")
    (shard,) = shards(tmp_path / "a.txt")
    for format_ in ("jsonl", "parquet"):
        annotate_shard(Annotator(tmp_path / "model"), shard, tmp_path, format_)
    row = json.loads((tmp_path / "part-00000.jsonl").read_text())
    assert row["places_label"] == ["LOC"]
    assert row["places_confidence"] == [None]
    table = pyarrow.parquet.read_table(tmp_path / "part-00000.parquet")
    assert table["places_confidence"].to_pylist() == [[None]]


def test_columns_that_do_not_fit(model, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Ada", "label": 1}\n')
    (shard,) = shards(path)
    with pytest.raises(ValueError, match="names label: set `prefix`"):
        annotate_shard(Annotator(model), shard, tmp_path, "jsonl")
    path.write_text('{"text": "Ada", "id": 1}\n{"text": "Ada", "id": "x"}\n{"text": "Ada"}\n')
    (shard,) = shards(path)
    with pytest.raises(ValueError, match="column 'id' cannot be written to parquet"):
        annotate_shard(Annotator(model), shard, tmp_path, "parquet")
    assert not list(tmp_path.glob("*part*"))
    annotate_shard(Annotator(model, keep=["text"]), shard, tmp_path, "parquet")
    annotate_shard(Annotator(model), shard, tmp_path, "jsonl")
    found = read_lines(tmp_path / "part-00000.jsonl")
    assert [row.get("id", "none") for row in found] == [1, "x", "none"]


def make_result(number, digest="a", errors=()):
    return Result(number, digest, 1, 2, [{"source": e, "error": "bad"} for e in errors], 0)


def test_the_manifest_continues(rows, tmp_path):
    folder = tmp_path / "out"
    parts = shards(rows, size=1)
    manifest = Manifest(folder, {"model": "m", "keep": ("a",)})
    assert not any(manifest.has(shard, "jsonl") for shard in parts)
    manifest.add(make_result(1, parts[1].digest, errors=["x:9"]))
    manifest.add(make_result(0, parts[0].digest, errors=["x:1", "x:2"]))
    parts[0].path(folder, "jsonl").write_text("")
    # Its writer was killed.
    with (folder / "manifest.jsonl").open("a") as file:
        file.write('{"shard": 2, "dig')
    again = Manifest(folder, {"model": "m", "keep": ("a",)})
    # The file of shard 1 is missing.
    assert [again.has(shard, "jsonl") for shard in parts] == [True, False, False, False]
    assert again.write_errors() == 3
    errors = read_lines(folder / "errors.jsonl")
    assert [error["source"] for error in errors] == ["x:1", "x:2", "x:9"]
    again.add(make_result(1, parts[1].digest))
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 4
    last = Manifest(folder, {"model": "m", "keep": ("a",)})
    assert last.write_errors() == 2
    last.check_number(2)
    with pytest.raises(ValueError, match="has 2 parts, but the input only 1"):
        last.check_number(1)


def test_other_settings_rows_and_folders_are_errors(rows, tmp_path):
    folder = tmp_path / "out"
    Manifest(folder, {"model": "m"}).add(make_result(0, "other"))
    shards(rows)[0].path(folder, "jsonl").write_text("")
    with pytest.raises(ValueError, match=r"another value of model \('m'\)"):
        Manifest(folder, {"model": "n"})
    with pytest.raises(ValueError, match=r"made from other rows than those from .*:1 on"):
        Manifest(folder, {"model": "m"}).has(shards(rows)[0], "jsonl")
    with pytest.raises(ValueError, match="not empty, and not an output"):
        Manifest(rows.parent, {"model": "m"})
    assert {path.name for path in folder.iterdir()} == {"manifest.jsonl", "part-00000.jsonl"}


def test_the_settings_can_change_before_there_is_output(tmp_path):
    Manifest(tmp_path / "out", {"prefix": ""})
    Manifest(tmp_path / "out", {"prefix": "a_"})
    assert read_lines(tmp_path / "out" / "manifest.jsonl") == [{"prefix": "a_"}]


def test_rows_with_lone_surrogates_and_deep_nesting(model, tmp_path):
    path = tmp_path / "a.jsonl"
    deep = "[" * 100_000
    lines = [r'{"text": "\ud83d"}', r'{"text": "Ada", "id": "\ud83d"}', deep, '{"text": "Eve"}']
    path.write_text("\n".join(lines))
    (shard,) = shards(path)
    result = annotate_shard(Annotator(model), shard, tmp_path, "jsonl")
    found = [(row["text"], row.get("id")) for row in read_lines(tmp_path / "part-00000.jsonl")]
    assert found == [("Ada", "\ud83d"), ("Eve", None)]
    errors = {error["source"]: error["error"] for error in result.errors}
    assert errors.keys() == {f"{path}:1", f"{path}:3"}
    assert "surrogates not allowed" in errors[f"{path}:1"]
    assert errors[f"{path}:3"].endswith("is nested too deeply")
    with pytest.raises(ValueError, match="column 'id' cannot be written to parquet"):
        annotate_shard(Annotator(model), shard, tmp_path, "parquet")
