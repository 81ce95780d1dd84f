"""Texts with character offsets from all annotation tools, in all readers and commands."""

import json
import logging
from pathlib import Path

import datasets
import pytest
import spacy
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.tokens import DocBin
from spacy.training import Corpus
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.corpus.corpus import HFCorpus, corpus_splits, open_corpus
from bigru_tagger.corpus.sentences import CorpusError

TEXT = "Ortrun Vogt left Linz."
PER, LOC = (0, 11, "PER"), (17, 21, "LOC")
OBJECTS = [{"start": s, "end": e, "label": label} for s, e, label in (PER, LOC)]
STUDIO = [
    {"start": s, "end": e, "text": TEXT[s:e], "labels": [label]} for s, e, label in (PER, LOC)
]
ROWS = {
    "prodigy": {"text": TEXT, "spans": OBJECTS, "answer": "accept", "tokens": [{"text": "Ortrun"}]},
    "doccano": {"id": 1, "text": TEXT, "label": [PER, LOC]},
    "doccano, labels": {"id": 1, "text": TEXT, "labels": [PER, LOC]},
    "doccano, data": {"id": 1, "data": TEXT, "label": [PER, LOC]},
    "doccano, objects": {
        "text": TEXT,
        "entities": [
            {"id": 1, "label": x, "start_offset": s, "end_offset": e} for s, e, x in (PER, LOC)
        ],
        "relations": [],
    },
    "Label Studio": {
        "id": 7,
        "data": {"text": TEXT},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": [*({"value": v, "type": "labels"} for v in STUDIO), {"type": "relation"}]},
        ],
    },
    "Label Studio, JSON-MIN": {"id": 7, "text": TEXT, "label": STUDIO, "annotator": 1},
    "spaCy": [TEXT, {"entities": [PER, LOC]}],
    "entities": {"text": TEXT, "entities": [LOC, PER]},
    "lists of a struct": {
        "text": TEXT,
        "entities": {"start": [0, 17], "end": [11, 21], "label": ["PER", "LOC"]},
    },
}


@pytest.fixture(autouse=True)
def _separate_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def write_lines(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: str, **options):
    return list(open_corpus(path, **options)(spacy.blank("en")))


def entities(docs):
    return [[(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents] for doc in docs]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("form", ["lines", "line", "list", "indented"])
def test_rows_of_all_tools(tmp_path, name, form):
    row, path = ROWS[name], tmp_path / "x.json"
    n = 1 if form == "line" else 2
    if form in ("lines", "line"):
        write_lines(path, *[row] * n)
    else:
        path.write_text(json.dumps([row] * n, indent=2 if form == "indented" else None))
    examples = read(str(path))
    assert entities(eg.reference for eg in examples) == [[PER, LOC]] * n
    for example in examples:
        tokens = ["Ortrun", "Vogt", "left", "Linz", "."]
        assert [token.text for token in example.reference] == tokens
        assert [token.text for token in example.predicted] == tokens
        assert example.reference.text == TEXT
        assert not example.predicted.has_annotation("ENT_IOB")
        assert example.get_aligned_ner() == ["B-PER", "L-PER", "O", "U-LOC", "O"]


def test_texts_that_nobody_has_annotated_in_label_studio_are_left_out(tmp_path):
    # They are not texts without entities.
    cancelled = [{"was_cancelled": True, "result": []}]
    open_tasks = [{"data": {"text": "Vogt ."}, "annotations": of} for of in ([], cancelled)]
    path = write_lines(tmp_path / "x.jsonl", open_tasks[0], ROWS["Label Studio"], open_tasks[1])
    assert entities(eg.reference for eg in read(path)) == [[PER, LOC]]


def test_limit_is_a_number_of_texts(tmp_path):
    rows = [{"text": text, "entities": []} for text in ("a", "", "b", "c")]  # "" has no tokens
    path = write_lines(tmp_path / "x.jsonl", *rows)
    assert [eg.reference.text for eg in read(path, limit=2)] == ["a", "b"]


def test_entities_of_one_token_overlap_after_alignment(tmp_path):
    row = {"text": "OrtrunVogt left", "entities": [[0, 6, "PER"], [6, 10, "LOC"]]}
    path = write_lines(tmp_path / "x.jsonl", row)
    message = "'OrtrunVogt' and 'OrtrunVogt' overlap after alignment"
    with pytest.raises(CorpusError, match=message):
        read(path, alignment="expand")


def test_annotations_with_classes(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"classes": ["PER"], "annotations": [ROWS["spaCy"], None]}))
    assert entities(eg.reference for eg in read(str(path))) == [[PER, LOC]]


def test_a_dataset_with_texts(tmp_path):
    spans = List(
        {"start": Value("int64"), "end": Value("int64"), "label": ClassLabel(names=["LOC", "PER"])}
    )
    rows = {"text": [TEXT, ""], "spans": [[{"start": 0, "end": 11, "label": 1}], []]}
    Dataset.from_dict(rows, Features({"text": Value("string"), "spans": spans})).save_to_disk(
        tmp_path
    )
    [example] = HFCorpus(str(tmp_path))(spacy.blank("en"))
    assert entities([example.reference]) == [[PER]]
    other = Dataset.from_dict({"body": [TEXT], "marks": [OBJECTS]})
    other.to_parquet(tmp_path / "y.parquet")
    options = {"text_column": "body", "entities_column": "marks"}
    [example] = read(str(tmp_path / "y.parquet"), **options)
    assert entities([example.reference]) == [[PER, LOC]]


@pytest.mark.parametrize(
    ("alignment", "expected"),
    [("expand", [(0, 11, "PER"), (17, 21, "LOC")]), ("contract", [(0, 6, "PER")])],
)
def test_alignment(tmp_path, caplog, alignment, expected):
    row = {"text": TEXT, "entities": [[0, 9, "PER"], [17, 19, "LOC"]]}
    path = write_lines(tmp_path / "x.jsonl", row)
    with caplog.at_level(logging.WARNING, logger="bigru_tagger"):
        [example] = read(path, alignment=alignment)
    assert entities([example.reference]) == [expected]
    assert "x.jsonl:1, row 0: 'Ortrun Vo' (0, 9, PER) in the tokens 'Ortrun Vogt'" in caplog.text
    assert f'alignment = "{alignment}"' in caplog.text


def test_strict_alignment_lists_misaligned_entities(tmp_path):
    wrong = {"text": TEXT, "entities": [[17, 19, "LOC"]]}
    path = write_lines(tmp_path / "x.jsonl", wrong, ROWS["entities"], *[wrong] * 11)
    with pytest.raises(CorpusError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith("entities start or end within a token (12): ")
    assert "x.jsonl:1, row 0: 'Li' (17, 19, LOC) in the tokens 'Linz'; " in message
    assert "and 2 more" in message
    assert "\n" not in message
    with pytest.raises(ValueError, match="alignment must be one of strict, expand, contract"):
        HFCorpus("x", alignment="none")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"entities": [[0, 6, "A"], [5, 11, "B"]]}, r"overlap: 'Ortrun' \(0, 6, A\) and 'n Vogt'"),
        ({"entities": [[0, 11, "A"], [0, 11, "B"]]}, "overlap"),
        ({"entities": [[17, 30, "A"]]}, "from 17 to 30, but the text has 22 characters"),
        ({"entities": [[4, 4, "A"]]}, "from 4 to 4"),
        ({"entities": [[-3, 4, "A"]]}, "from -3 to 4"),
        ({"entities": [[6, 7, "A"]]}, "from 6 to 7"),
        ({"entities": [[0, 6]]}, r"holds \[0, 6\], not the start, end and label"),
        ({"entities": [["0", "6", "A"]]}, "not the start, end and label"),
        ({"entities": [[0, 6, None]]}, "not the start, end and label"),
        (
            {"entities": [{"start": 0, "end": 6, "labels": ["A", "B"]}]},
            "not the start, end and label",
        ),
        (
            {"entities": [{"start": 0, "end": 5, "label": "A", "text": "Ortrun"}]},
            "the text has 'Ortru'",
        ),
        ({"entities": None}, "'entities' holds None, not a list"),
        ({"text": None}, "'text' holds None, not a text"),
        ({"entities": "none"}, "'entities' holds 'none', not a list"),
    ],
)
def test_errors_name_the_row(tmp_path, row, message):
    path = write_lines(tmp_path / "x.jsonl", ROWS["entities"], {**ROWS["entities"], **row})
    with pytest.raises(CorpusError, match=rf"x.jsonl:2, row 1: .*{message}"):
        read(path)


def test_several_annotators(tmp_path):
    task = {"data": {"text": TEXT}, "annotations": [{"result": []}, {"result": []}]}
    with pytest.raises(CorpusError, match=r"x.jsonl:1, row 0: 2 annotations: keep the right one"):
        read(write_lines(tmp_path / "x.jsonl", task))


def test_rejected_and_ignored_rows_are_left_out(tmp_path, caplog):
    answers = [{**ROWS["prodigy"], "answer": answer} for answer in ("accept", "reject", "ignore")]
    answers.append({"text": "Nothing here.", "answer": "accept"})
    path = write_lines(tmp_path / "x.jsonl", *answers)
    with caplog.at_level(logging.WARNING, logger="bigru_tagger"):
        docs = [eg.reference for eg in read(path)]
    assert entities(docs) == [[PER, LOC], []]
    assert all(doc.has_annotation("ENT_IOB") for doc in docs)
    assert "2 rows left out: they were rejected or ignored" in caplog.text


@pytest.mark.parametrize("view", [{"_view_id": "ner"}, {"_is_binary": True}])
def test_an_answer_about_one_entity_says_nothing_of_the_other_tokens(tmp_path, caplog, view):
    row = {"text": TEXT, "spans": OBJECTS[:1], "answer": "accept"}
    path = write_lines(
        tmp_path / "x.jsonl", {**row, **view}, row, {**row, **view, "answer": "reject"}
    )
    with caplog.at_level(logging.WARNING, logger="bigru_tagger"):
        examples = read(path)
    assert [example.get_aligned_ner() for example in examples] == [
        ["B-PER", "L-PER", None, None, None],
        ["B-PER", "L-PER", "O", "O", "O"],
    ]
    assert "1 rows answer whether an entity is correct" in caplog.text
    assert "1 rows left out: they were rejected or ignored" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROWS["prodigy"], "answer": "Accept"}, "'answer' holds 'Accept'"),
        ({**ROWS["prodigy"], "answer": None}, "'answer' holds None"),
        (
            {"text": TEXT, "span": OBJECTS, "answer": "accept"},
            "entities in 'span', and not in 'spans'",
        ),
        (
            {
                "data": {"text": TEXT, "title": TEXT},
                "annotations": [
                    {
                        "result": [
                            {"to_name": name, "value": {"start": 0, "end": 3, "labels": ["PER"]}}
                            for name in ("title", "text")
                        ]
                    }
                ],
            },
            r"labels of several texts \('to_name' is text, title\)",
        ),
        ({"data": {"text": TEXT}, "annotations": [{"results": []}]}, "'result' holds None"),
        (
            {
                "data": {"text": TEXT},
                "annotations": [{"result": [{"type": "labels", "value": {}}]}],
            },
            "a result of the type 'labels' without labels",
        ),
    ],
)
def test_annotation_that_would_be_lost_is_an_error(tmp_path, row, message):
    first = ROWS["Label Studio" if "data" in row else "prodigy"]
    path = write_lines(tmp_path / "x.jsonl", first, row)
    with pytest.raises(CorpusError, match=rf"x.jsonl:2, row 1: {message}"):
        read(path)


def test_duplicates_and_outer_whitespace_are_removed(tmp_path):
    row = {"text": " Linz  is", "entities": [[0, 6, "LOC"], [1, 5, "LOC"], [1, 5, "LOC"]]}
    [example] = read(write_lines(tmp_path / "x.jsonl", row))
    assert entities([example.reference]) == [[(1, 5, "LOC")]]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(data=st.data(), text=st.text(min_size=1, max_size=30))
def test_any_tokens_of_any_text_are_found_again(data, text, tmp_path):
    nlp = spacy.blank("xx")
    doc = nlp.make_doc(text)
    cuts = data.draw(st.lists(st.integers(0, len(doc)), max_size=6, unique=True).map(sorted))
    spans = [doc[a:b] for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    spans = [span for span in spans if not (span[0].is_space or span[-1].is_space)]
    gold = [[span.start_char, span.end_char, "X"] for span in spans]
    path = write_lines(tmp_path / "x.jsonl", {"text": text, "entities": gold})
    [example] = open_corpus(path)(nlp)
    assert [(ent.start, ent.end) for ent in example.reference.ents] == [
        (s.start, s.end) for s in spans
    ]


# --- the commands


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_convert_and_evaluate(tmp_path):
    path = write_lines(tmp_path / "test.jsonl", ROWS["prodigy"], ROWS["prodigy"])
    run("convert", path, tmp_path / "out", "--lang", "en")
    nlp = spacy.blank("en")
    [doc, _] = DocBin().from_disk(tmp_path / "out" / "test.spacy").get_docs(nlp.vocab)
    assert entities([doc]) == [[PER, LOC]]
    assert doc.text == TEXT
    assert len(list(Corpus(tmp_path / "out" / "test.spacy")(nlp))) == 2
    rules = nlp.add_pipe("entity_ruler")
    rules.add_patterns([{"label": "LOC", "pattern": "Linz"}])
    nlp.to_disk(tmp_path / "model")
    scores = tmp_path / "scores.json"
    run("evaluate", tmp_path / "model", path, "--json", scores)
    content = json.loads(scores.read_text())
    assert content["documents"] == 2
    per_type = content["entities"]["default"]["per_type"]
    assert per_type["LOC"]["f1"] == 1.0
    assert per_type["PER"]["f1"] == 0.0


def test_a_folder_of_json_files_has_splits(tmp_path):
    write_lines(tmp_path / "ner-Train.jsonl", ROWS["entities"])
    write_lines(tmp_path / "ner-Test.jsonl", {"text": "Linz", "entities": [[0, 4, "LOC"]]})
    assert corpus_splits(str(tmp_path)) == ["train", "test"]
    [example] = read(str(tmp_path), split="test")
    assert example.reference.text == "Linz"
    with pytest.raises(CorpusError, match="no file of the split 'validation'"):
        read(str(tmp_path), split="validation")


def studio(*values: object) -> dict[str, object]:
    return {"data": {"text": TEXT}, "annotations": [{"result": [{"value": v} for v in values]}]}


def test_other_results_of_label_studio_are_ignored(tmp_path):
    region = {"start": 0, "end": 11, "text": TEXT[:11]}
    labels = {"hypertextlabels": ["LOC"]}
    html = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 17}
    path = write_lines(
        tmp_path / "x.jsonl",
        studio({**region, "choices": ["sure"]}, {**region, "labels": ["PER"]}, None),
        studio({**region, "text": ["a note"]}, {"start": 17, "end": 21, **labels}),
        studio({**html, "globalOffsets": {"start": 17, "end": 21}, "text": "Linz", **labels}),
    )
    assert entities(eg.reference for eg in read(path)) == [[PER], [LOC], [LOC]]


@pytest.mark.parametrize("annotations", [None, [5], {"result": []}, [{"result": None}]])
def test_invalid_annotations(tmp_path, annotations):
    row = {"data": {"text": TEXT}, "annotations": annotations}
    path = write_lines(tmp_path / "x.jsonl", ROWS["Label Studio"], row)
    with pytest.raises(
        CorpusError, match=r"x.jsonl:2, row 1: '(annotations|result)' holds .* use \[\]"
    ):
        read(path)


@pytest.mark.parametrize("offset", ["Infinity", "-Infinity", "NaN", "1e999", "0.5"])
def test_invalid_offsets(tmp_path, offset):
    path = tmp_path / "x.jsonl"
    path.write_text(
        f'{{"text": "Linz", "entities": []}}\n'
        f'{{"text": "Linz", "entities": [[0, {offset}, "LOC"]]}}\n'
    )
    with pytest.raises(
        CorpusError, match=r"x.jsonl:2, row 1: 'entities' holds .*not the start, end"
    ):
        read(str(path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"text": TEXT, "entities": [PER]}, {"text": TEXT, "entities": None}),
        ({"text": TEXT, "label": [PER]}, {"text": TEXT}),
        ({"tokens": ["a"], "ner_tags": ["O"]}, {"tokens": ["a"]}),
    ],
)
def test_a_row_without_annotation(tmp_path, first, second):
    path = write_lines(tmp_path / "x.jsonl", first, second)
    with pytest.raises(
        CorpusError,
        match=r"x.jsonl:2, row 1: .* holds None, .*\[\] if there are no.*, or drop the rows",
    ):
        read(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n\n{"text": "a", "entities": []},\n{"text": "b" "entities": []}\n]\n', 4),
        ('[\n{"text": "a", "entities": []}\n{"text": "b", "entities": []}\n]\n', 3),
        ('{\n  "text": "a",\n  "entities": [\n    [0, 1, X]\n  ]\n}\n', 4),
        ('{"text": "a", "entities": [}\n{"text": "b", "entities": []}\n', 1),
        ('{"text": "a"\n{"text": "b", "entities": []}\n', 1),
        ('{"text": "a", "entities": []}\n\n{"text": "b", "entities"}\n', 3),
    ],
)
def test_json_errors_name_the_line(tmp_path, text, line):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=rf"x.json:{line}: not valid JSON: .* at column \d+$"):
        read(str(path))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"entities": [], "spans": OBJECTS}, "entities in 'spans', and not in 'entities'"),
        (
            {"entities": OBJECTS, "spans": OBJECTS},
            "entities in 'spans', and in 'entities'",
        ),
        ({"entities": OBJECTS[0]}, "'entities' holds .*, not a list of entities"),
        ({"entities": {"start": [0, 4], "end": [3], "label": ["PER"]}}, "not a list of entities"),
        ({"entities": [[0, 3, "PER\n"]]}, r"the label 'PER\\n', which starts or ends with white"),
        ({"entities": [[0, 3, " "]]}, "the label ' ', which starts or ends with white"),
        ({"entities": [[0, 3, "P\xadER"]]}, r"the label 'P\\xadER', .* cannot be seen"),
    ],
)
def test_entities_that_are_unclear(tmp_path, row, message):
    path = write_lines(tmp_path / "x.jsonl", {"text": TEXT, **row})
    with pytest.raises(CorpusError, match=rf"x.jsonl:1, row 0: .*{message}"):
        list(HFCorpus("json", data_files=str(path))(spacy.blank("en")))


def test_the_user_chooses_among_columns_of_entities(tmp_path):
    path = write_lines(tmp_path / "x.jsonl", {"text": TEXT, "entities": [], "spans": OBJECTS})
    settings = {"data_files": str(path), "entities_column": "spans"}
    [example] = HFCorpus("json", **settings)(spacy.blank("en"))
    assert len(example.reference.ents) == len(OBJECTS)


def test_rejected_spans_are_no_entities(tmp_path):
    spans = [{**OBJECTS[0], "answer": "reject"}, *OBJECTS[1:]]
    path = write_lines(tmp_path / "x.jsonl", {"text": TEXT, "answer": "accept", "spans": spans})
    [example] = HFCorpus("json", data_files=str(path))(spacy.blank("en"))
    assert len(example.reference.ents) == len(OBJECTS) - 1


ADA = "Ada Lovelace lived in London."


@pytest.mark.parametrize("key", ["spans", "label"])
@pytest.mark.parametrize("entities", [[], [[22, 28, "LOC"]]])
def test_lists_in_another_key(tmp_path, key, entities):
    row = {"text": ADA, "entities": entities, key: [[0, 12, "PER"]]}
    path = write_lines(tmp_path / "x.jsonl", row)
    with pytest.raises(CorpusError, match=rf"row 0: entities in '{key}', and (not )?in 'entities'"):
        read(path)
    [example] = read(path, entities_column=key)
    assert entities_of(example) == [(0, 12, "PER")]


@pytest.mark.parametrize("name", ["Ada", "Lovelace", "Countess Ada Lovelace", "a", "Q7259"])
def test_short_and_other_names_of_an_entity(tmp_path, name):
    entities = [{"start": 0, "end": 12, "label": "PER", "value": name}]
    [example] = read(write_lines(tmp_path / "x.jsonl", {"text": ADA, "entities": entities}))
    assert entities_of(example) == [(0, 12, "PER")]


def entities_of(example):
    return entities([example.reference])[0]


def test_other_lists_are_no_entities(tmp_path):
    row = {"text": ADA, "entities": [[0, 12, "PER"]], "x": [[1, 0, "of"]], "y": [[0, 1, 2]]}
    row |= {"relations": [[0, 4, "nsubj"]], "pos": [[0, 3, "NNP"]]}
    [example] = read(write_lines(tmp_path / "x.jsonl", row))
    assert entities_of(example) == [(0, 12, "PER")]


def test_entities_in_two_columns_of_a_dataset(tmp_path):
    entity = {"start": 0, "end": 12, "label": "PER"}
    rows = {"text": [ADA] * 2, "entities": [[entity], []], "spans": [[], [entity]]}
    path = str(tmp_path / "x.parquet")
    Dataset.from_dict(rows).to_parquet(path)
    with pytest.raises(CorpusError, match="row 1: entities in 'spans', and not in 'entities'"):
        read(path)
    examples = read(path, entities_column="entities")
    assert [entities_of(example) for example in examples] == [[(0, 12, "PER")], []]


CHINESE = "浙江省金融办主任叶老桂说"  # the name has the characters 8 to 10


@pytest.mark.parametrize(
    "key", ["text", "word", "entity", "value", "mention", "surface", "content"]
)
def test_the_own_text_of_an_entity(tmp_path, key):
    def row(end):
        return {
            "text": CHINESE,
            "label": [{"start": 8, "end": end, "label": "name", key: "叶老桂"}],
        }

    assert CHINESE[8:11] == "叶老桂"
    path = write_lines(tmp_path / "x.jsonl", row(11))
    [example] = list(open_corpus(path)(spacy.blank("zh")))
    assert entities_of(example) == [(8, 11, "name")]
    with pytest.raises(
        CorpusError, match=r"an entity '叶老桂' from 8 to 10, but the text has '叶老'"
    ):
        read(write_lines(tmp_path / "y.jsonl", row(10)))


def test_the_own_text_in_a_list(tmp_path):
    row = {"text": CHINESE, "label": [[8, 10, "name", "叶老桂"]]}
    with pytest.raises(CorpusError, match=r"an entity '叶老桂' from 8 to 10"):
        read(write_lines(tmp_path / "x.jsonl", row))


def test_another_name_of_an_entity_is_no_text(tmp_path):
    entity = {"start": 0, "end": 3, "label": "PER", "value": "Q7259", "entity": "PER"}
    [example] = read(write_lines(tmp_path / "x.jsonl", {"text": "Ada PER", "entities": [entity]}))
    assert entities_of(example) == [(0, 3, "PER")]


def letters(start, end, **other):
    entity = {"start": start, "end": end, "type": "PER", **other}
    return {"text": "A B C", "tokens": ["A", "B", "C"], "entities": [entity]}


def test_offsets_of_tokens(tmp_path):
    message = r"row 0: the offsets in 'entities' may be those of characters or of tokens: "
    with pytest.raises(CorpusError, match=message):
        read(write_lines(tmp_path / "x.jsonl", letters(2, 3)))
    Dataset.from_list([letters(2, 3)]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match=message):
        read(str(tmp_path / "x.parquet"))
    with pytest.raises(CorpusError, match="an entity 'C' from 2 to 3, but the text has 'B'"):
        read(write_lines(tmp_path / "x.jsonl", letters(2, 3, text="C")))
    for rows in ([letters(2, 3, text="B")], [letters(2, 3), letters(4, 5)]):
        examples = read(write_lines(tmp_path / "x.jsonl", *rows))
        assert entities_of(examples[0]) == [(2, 3, "PER")]


def test_tokens_of_one_character(tmp_path):
    row = {"text": CHINESE, "tokens": list(CHINESE), "entities": [[8, 11, "name"]]}
    [example] = list(open_corpus(write_lines(tmp_path / "x.jsonl", row))(spacy.blank("zh")))
    assert entities_of(example) == [(8, 11, "name")]


@pytest.mark.parametrize(
    ("name", "classes"), [("taxonomy", [["PER", "Real"]]), ("choices", ["PER"]), ("x", ["PER"])]
)
def test_classes_of_a_part_of_a_text_in_label_studio(tmp_path, name, classes):
    region = {"start": 0, "end": 11, "text": TEXT[:11], name: classes}
    other = {"start": 17, "end": 21, "labels": ["LOC"]}
    row = {
        "data": {"text": TEXT},
        "annotations": [{"result": [{"type": name, "value": region}, {"value": other}]}],
    }
    path = write_lines(tmp_path / "x.jsonl", row)
    with pytest.raises(CorpusError, match=rf"row 0: a result of the type '{name}' without labels"):
        read(path)


@pytest.mark.parametrize("key", ["label", "type"])
@pytest.mark.parametrize("form", ["parquet", "saved"])
def test_numbers_of_classes_in_lists_of_a_struct(tmp_path, key, form):
    names = ClassLabel(names=["PER", "LOC"])
    struct = {"start": Value("int64"), "end": Value("int64"), key: names}
    rows = {"text": [ADA], "entities": [{"start": [0, 22], "end": [12, 28], key: [0, 1]}]}
    for number, feature in enumerate(
        (datasets.Sequence(struct), {k: List(v) for k, v in struct.items()})
    ):
        features = Features({"text": Value("string"), "entities": feature})
        path = tmp_path / f"{number}.{form}"
        dataset = Dataset.from_dict(rows, features)
        dataset.to_parquet(path) if form == "parquet" else dataset.save_to_disk(path)
        [example] = read(str(path), **({} if form == "parquet" else {"split": None}))
        assert entities_of(example) == [(0, 12, "PER"), (22, 28, "LOC")]


@pytest.mark.parametrize("mark", [{"annotator": 1}, {"annotation_id": 3}, {"Comments": []}])
def test_rows_that_leave_out_what_is_empty(tmp_path, mark):
    first = {"id": 1, "text": TEXT, "label": STUDIO, **mark}
    path = write_lines(tmp_path / "x.jsonl", first, {"id": 2, "text": "Nobody came.", **mark})
    docs = [example.reference for example in read(path)]
    assert entities(docs) == [[PER, LOC], []]
    assert docs[1].has_annotation("ENT_IOB")
    null = {"id": 2, "text": "Nobody came.", "label": None, **mark}
    with pytest.raises(CorpusError, match="row 1: 'label' holds None"):
        read(write_lines(tmp_path / "x.jsonl", first, null))
    other = {"id": 2, "text": TEXT, "labl": STUDIO, **mark}
    with pytest.raises(CorpusError, match="row 1: entities in 'labl', and not in 'label'"):
        read(write_lines(tmp_path / "x.jsonl", first, other))
    region = {"start": 0, "end": 11, "taxonomy": [["PER"]]}
    other = {"id": 2, "text": TEXT, "taxonomy": [region], **mark}
    with pytest.raises(CorpusError, match="row 1: parts of the text in 'taxonomy', but none in"):
        read(write_lines(tmp_path / "x.jsonl", first, other))
