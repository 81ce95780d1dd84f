"""Mutated data files are read exactly, or are errors that name the place."""

import json
import random
from pathlib import Path

import datasets
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer import Exit

from benchmarks.fuzz_data import FORMATS, fuzz_data
from benchmarks.mutations.cases import SENTENCES, Case, Record, outcome
from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.corpus.sentences import CorpusError

NLP = spacy.blank("xx")


@pytest.mark.parametrize("format", [name for name in FORMATS if name != ".spacy, parquet"])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=5
)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_mutation(format, tmp_path, seed):
    cases = list(FORMATS[format](random.Random(seed)))
    assert len(cases) > 30
    problems = [(case, outcome(case, tmp_path, NLP)[1]) for case in cases]
    assert [(case.kind, problem) for case, problem in problems if problem] == []


def test_binary_files(capsys):
    before = datasets.config.HF_DATASETS_CACHE, datasets.are_progress_bars_disabled()
    with pytest.raises(Exit) as ended:
        fuzz_data(files=800, seed=0)
    printed = capsys.readouterr()
    assert ended.value.exit_code == 0, printed.err
    assert "seed 0" in printed.out
    after = datasets.config.HF_DATASETS_CACHE, datasets.are_progress_bars_disabled()
    assert after == before


RIGHT = Record(("Ada", "left"), ((0, 1, "PER"),))
CONTENT = b"Ada B-PER\nleft O\n"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (Case("", "x.conll", CONTENT, [RIGHT]), ("data", "")),
        (Case("", "x.conll", CONTENT, None), ("data", "read without an error")),
        (Case("", "x.conll", CONTENT, [RIGHT, RIGHT]), ("data", "1 records")),
        (Case("", "x.conll", CONTENT, [RIGHT], "x", warns=True), ("data", "no warning: []")),
        (Case("", "x.conll", b"Ada\n", None, r"x\.conll:1: one column"), ("error", "")),
    ],
)
def test_the_outcome_of_a_file(case, expected, tmp_path):
    assert outcome(case, tmp_path, NLP) == expected


@pytest.mark.parametrize(
    ("content", "expected", "changed", "problem"),
    [
        (b"Ada B-PER\nleft O\n", [RIGHT], None, "error: "),
        (b"Ada X\nleft O\n", [RIGHT], None, "error: "),  # not the right place
        (b"Eva B-LOC\n\nAda B-PER\nleft O\n", [RIGHT, RIGHT], range(1), ""),
        (b"Ada B-PER\nleft O\n\nEva O\n", [RIGHT, RIGHT], range(1), "other records changed"),
        (b"Ada NN\n\nAda NN\n", [RIGHT, RIGHT], range(1), "error: "),
    ],
)
def test_wrong_outcomes_are_found(content, expected, changed, problem, tmp_path):
    scheme = {"scheme": "IO"} if problem == "error: " and content.startswith(b"Ada B") else {}
    case = Case("", "x.conll", content, expected, "elsewhere", changed, options=scheme)
    if scheme:  # a setting that makes the right file an error
        case = Case("", "x.conll", content, expected, options={"columns": ["tokens", "chunk", "_"]})
    assert outcome(case, tmp_path, NLP)[1].startswith(problem)
    assert bool(outcome(case, tmp_path, NLP)[1]) == bool(problem)


def read(path: Path, **options):
    return [example.reference for example in open_corpus(str(path), **options)(NLP)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # One wrong tag. Without the column, its layer would be lost.
        ("a N B-NP O\nb N O C-X\nc N O O\n", r":2: column 4: tag 'C-X' .*fix this one"),
        ("a N B-NP O\nb N C-NP O\nc N O B-X\n", r":2: column 3: tag 'C-NP'"),
        ("a N O\nb N B\nc N B-X\nd N O\n", r":3: column 3: tag 'B-X'"),  # two notations
        # One wrong number. Without the index, the numbers would be the tokens.
        ("1 a O\n2 b B-X\n7 c O\n4 d O\n5 e O\n\n1 f O\n2 g O\n3 h O\n", r":3: '7' in the first"),
        # One wrong name of a document. Without it, documents would not end.
        ("a N x O\nb N x B-X\n\nc N y O\nd N z O\n\ne N y O\nf N y O\n", r":5: column 3 holds 'z'"),
        # The first line is wrong, not the others.
        ("a O\nb N O\nc N B-X\n", r":1: 2 columns instead of 3"),
        # A token, or a comment with a tag.
        ("# N B-NP X\nb N O B-X\nc N B-NP O\n", r":1: '# N B-NP X' is a token without valid"),
        ("# N B-X\nb N B-NP B-X\nc N B-NP O\n", r":1: '# N B-X' is a token without valid"),
        ("a B-X\r\r\nb O\n", r":1: the tag 'B-X\\r' starts or ends with white space"),
        ("a B-X\nb B-X\u200b\n", r":2: the tag 'B-X\\u200b' .* cannot be seen"),
        ("a B-\u200eX\nb O\n", r":1: the tag 'B-\\u200eX' .* cannot be seen"),
        ("a B-\u200cX\nb O\n", r":1: the tag 'B-\\u200cX' starts or ends with white space"),
        ("a\tB- X\nb\tO\n", r":1: the tag 'B- X' starts or ends with white space"),
        ("a B-X\u3164Y\nb O\n", r":1: the tag 'B-X\u3164Y' .* cannot be seen"),
        ("a B-X\u200c\nb O\n", r":1: the tag 'B-X\\u200c' starts or ends with white space"),
        ("a B-X\u2028\nb O\n", r":1: the tag 'B-X\\u2028'"),
        ("a B-X\nb\0 O\n", r":2: a zero byte"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    path = tmp_path / "x.conll"
    path.write_bytes(text.encode())
    with pytest.raises(CorpusError, match=rf"x\.conll{message}"):
        read(path)


def test_only_multiword_tokens_in_a_file(tmp_path):
    path = tmp_path / "x.conllu"
    path.write_text("1-2\tam" + "\t_" * 8 + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"x.conllu:1: 10 columns instead of 2"):
        read(path)


ROW = {"tokens": ["a", "b"], "ner_tags": ["B-X", "O"], "pos_tags": ["N", "V"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"tokens": ["a"], "ner_tags": ["O"], "ner_tags": ["B-X"]}', "the key 'ner_tags' twice"),
        ('{"tokens": ["\\ud83d"], "ner_tags": ["O"]}', "surrogates not allowed"),
        ("[" * 100_000, "not valid JSON"),
        ('{"tokens": ["a"], "ner_tags": 5}', "'ner_tags' holds 5"),
    ],
)
@pytest.mark.parametrize("index", [0, 2])
def test_a_wrong_row_is_named_even_if_it_is_the_first(tmp_path, line, message, index):
    lines = [json.dumps(ROW)] * 3
    lines[index] = line
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CorpusError, match=rf"x\.jsonl:{index + 1}[:,] .*{message}"):
        read(path)


@pytest.mark.parametrize("wrong", [None, 5, {"a": 1}])
def test_a_wrong_first_row_does_not_decide_for_the_others(tmp_path, caplog, wrong):
    path = tmp_path / "x.jsonl"
    rows = [{**ROW, "pos_tags": wrong}, ROW, ROW]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    docs = read(path)
    assert [[token.tag_ for token in doc] for doc in docs] == [["", ""], ["N", "V"], ["N", "V"]]
    assert "x.jsonl:1, row 0: 'pos_tags' holds" in caplog.text


def test_true_is_no_number_of_a_tag(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"tokens": ["a", "b"], "ner_tags": [1, true]}', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"x\.jsonl:1, row 0: 'ner_tags' holds True"):
        read(path, tag_names={"ner_tags": ["O", "B-X"]})


def test_one_wrong_tag_among_chunks_is_an_error(tmp_path):
    # All wrong: the column holds something else, and is ignored with a warning.
    rows = [{**ROW, "chunk_tags": ["B-NP", tag]} for tag in ("O", "C-NP")]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"x\.jsonl:2, row 1: tag 'C-NP' at position 1"):
        read(path)


def test_the_sentences_have_all_layers():
    assert all(len(sentence.words) == len(sentence.tags) for sentence in SENTENCES)
