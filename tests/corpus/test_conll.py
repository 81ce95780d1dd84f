from pathlib import Path

import pytest
import spacy

from bigru_tagger.corpus.corpus import ConllCorpus
from bigru_tagger.corpus.sentences import CorpusError


@pytest.fixture
def nlp():
    return spacy.blank("en")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("ending", ["", "\n", "\n\n\n", "\r\n"])
def test_ends_of_files(tmp_path, nlp, ending):
    file = write(tmp_path / "x.tsv", f"Ada\tB-PER\nleft\tO{ending}")
    [example] = ConllCorpus(file)(nlp)
    assert example.get_aligned_ner() == ["U-PER", "O"]


def test_folder_and_pattern(tmp_path, nlp):
    for name in ("b.conll", "a.txt", "c.md", ".hidden.conll"):
        write(tmp_path / name, f"{name} O\n")
    words = [eg.reference[0].text for eg in ConllCorpus(tmp_path)(nlp)]
    assert words == ["a.txt", "b.conll"]
    [whole] = ConllCorpus(str(tmp_path / "*.md"))(nlp)
    assert whole.reference.text.strip() == "c.md"
    # Each file is a separate document.
    assert len(list(ConllCorpus(tmp_path, sentences_per_doc=0)(nlp))) == 2


def test_given_columns_separator_and_encoding(tmp_path, nlp):
    file = write(tmp_path / "x", "1|El Niño|O|x\n2|llegó|B-V|x\n", encoding="latin-1")
    options = {"columns": ["_", "tokens", "ner", "_"], "separator": "|"}
    [example] = ConllCorpus(file, encoding="latin-1", **options)(nlp)
    assert [token.text for token in example.reference] == ["El Niño", "llegó"]
    assert example.get_aligned_ner() == ["O", "U-V"]
    with pytest.raises(CorpusError, match=r"x:1: 'utf-8' .*: set encoding"):
        list(ConllCorpus(file, **options)(nlp))
    with pytest.raises(CorpusError, match="unknown encoding: latin-0"):
        list(ConllCorpus(file, encoding="latin-0", **options)(nlp))


def test_other_unicode_spaces_belong_to_tokens(tmp_path, nlp):
    file = write(tmp_path / "x.conll", "10\u00a0000 B-NUM\n\u2028 O\n\u3000 O\n")
    [example] = ConllCorpus(file)(nlp)
    assert [token.text for token in example.reference] == ["10\u00a0000", "\u2028", "\u3000"]


def test_a_hash_is_a_token_if_its_line_has_all_columns(tmp_path, nlp):
    file = write(tmp_path / "x.conll", "# id = 3\n# O\n1 B-N\nwin O\n\n# and more\n")
    [example] = ConllCorpus(file)(nlp)
    assert [token.text for token in example.reference] == ["#", "1", "win"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a O\n\nb\n", {}, ":3: 1 column instead of 2 \\(tokens, ner\\)"),
        ("a O\n\nb O O\n", {}, ":3: 3 columns instead of 2"),
        ("a x y\n", {}, ':1: 3 columns .*: name the columns, as in columns = \\["tokens"'),
        ("a O O\n", {}, ':1: columns 2, 3 hold tags: name the one .* columns = \\["tokens"'),
        (
            "# a comment\na O\nb X-Y\n",
            {},
            ":3: tag 'X-Y' at position 1: valid tags are 'O'",
        ),
        ("a O\n# a comment\nb O\n", {}, ":2: '# a comment' starts with '#' within a sentence"),
        ("#a\na O\nb O\n", {}, ":1: '#a' is a token without valid columns"),
        ("a O\nb S-X\n", {"scheme": "IOB2"}, ":2: tag 'S-X' at position 1"),
        ("a\tO\n\tO\n", {"separator": "\t"}, ":2: an empty token"),
        ("", {}, ": no sentence has tokens"),
        ("# a comment\n-DOCSTART-\n\n", {}, ": no sentence has tokens"),
    ],
)
def test_bad_file_is_named_with_its_line(tmp_path, nlp, text, options, message):
    file = write(tmp_path / "bad.conll", text)
    with pytest.raises(CorpusError, match=f"bad.conll{message}"):
        list(ConllCorpus(file, **options)(nlp))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.conll", "no such file or folder, and no file that matches"),
        ("*.nothing", "no such file or folder, and no file that matches"),
        (".", "no file ends in .annotated, .bio"),
    ],
)
def test_no_files(tmp_path, nlp, path, message):
    with pytest.raises(CorpusError, match=message):
        list(ConllCorpus(tmp_path / path)(nlp))


@pytest.mark.parametrize(
    "columns",
    [
        [],
        ["tokens"],
        ["ner", "pos"],
        ["tokens", "ner", "ner"],
        ["tokens", "lemma"],
        ["tokens", "_"],
    ],
)
def test_bad_columns(columns):
    with pytest.raises(CorpusError, match="name each column of the file once"):
        ConllCorpus("x", columns=columns)


def tokens_and_labels(path: Path, nlp, **options):
    docs = [example.reference for example in ConllCorpus(path, **options)(nlp)]
    return [[(token.text, token.ent_type_) for token in doc] for doc in docs]


def test_comments_with_labels_without_prefixes(tmp_path, nlp):
    text = "# comment\n# B-side\nAda PER\n# O\n# PER\nleft O\n\n# newdoc\n#PER PER\n"
    file = write(tmp_path / "x.conll", text)
    assert tokens_and_labels(file, nlp, scheme="io") == [
        [("Ada", "PER"), ("#", ""), ("#", "PER"), ("left", "")],
        [("#PER", "PER")],
    ]
    file = write(tmp_path / "y.conll", "Ada PER\n# LOC\n")
    with pytest.raises(CorpusError, match=r"y.conll:2: '# LOC' starts with '#' within"):
        tokens_and_labels(file, nlp, scheme="io")


def test_a_single_letter_is_a_comment_unless_it_is_a_tag(tmp_path, nlp):
    file = write(tmp_path / "x.conll", "# b\n# B\nAda B-PER\n\n# I-PER\n")
    assert tokens_and_labels(file, nlp) == [[("Ada", "PER")], [("#", "PER")]]
    file = write(tmp_path / "y.conll", "# b\nAda b\nLee i\nleft o\n")
    assert tokens_and_labels(file, nlp) == [
        [("#", "ENTITY"), ("Ada", "ENTITY"), ("Lee", "ENTITY"), ("left", "")]
    ]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_byte_order_marks_within_lines(tmp_path, nlp, separator):
    lines = ["Ada\ufeff B-PER", "Lee \ufeffI-PER", "left O\ufeff", "\ufeff\ufeffLinz B-LOC\ufeff"]
    text = "\n".join(lines).replace(" ", separator)
    file = write(tmp_path / "x.conll", text)
    assert tokens_and_labels(file, nlp) == [
        [("Ada", "PER"), ("Lee", "PER"), ("left", ""), ("Linz", "LOC")]
    ]


@pytest.mark.parametrize(
    "comment",
    ["# sent_id = s-101", "# text = E-Mail", "# doc 7 B-12", "# id x s_17", "# text = O"],
)
def test_a_comment_whose_last_word_looks_like_a_tag(tmp_path, comment):
    # Each has as many words as the lines of tokens have columns.
    for start in ("Ada NNP B-NP B-PER\nran VBD B-VP O", "1 Ada NNP B-PER\n2 ran VBD O"):
        file = write(tmp_path / "x.conll", f"{comment}\n{start}\n\n{comment}\n{start}\n")
        corpus = ConllCorpus(file)
        assert [list(s.words) for s in corpus.sentences()] == [["Ada", "ran"]] * 2
        assert corpus.schemes.ner == "IOB2"


@pytest.mark.parametrize(
    ("comment", "line"),
    [
        ("# s-101", "Ada B-PER\nran O"),
        ("# doc B-12", "Ada NNP B-PER\nran VBD O"),
        ("# id s_17", "1 Ada B-PER\n2 ran O"),
        ("# id O", "1 Ada B-PER\n2 ran O"),
    ],
)
def test_comments_of_as_many_words_as_columns(tmp_path, comment, line):
    file = write(tmp_path / "x.conll", f"{comment}\n{line}\n\n{comment}\n{line}\n")
    corpus = ConllCorpus(file)
    assert [list(s.words) for s in corpus.sentences()] == [["Ada", "ran"]] * 2
    assert corpus.schemes.ner == "IOB2"


@pytest.mark.parametrize("line", ["#Porto B-LOC", "#\tB-LOC", "#Porto\tB-LOC"])
def test_a_hashtag_with_a_new_label_is_not_dropped(tmp_path, line):
    text = "Ada B-PER\n\n".replace(" ", "\t" if "\t" in line else " ")
    file = write(tmp_path / "x.conll", f"{text}{line}\n")
    with pytest.raises(CorpusError, match=r"x.conll:3: '#.* is a token without valid columns"):
        list(ConllCorpus(file).sentences())
    file = write(tmp_path / "x.conll", f"{text}{line.replace('LOC', 'PER')}\n")
    assert len(list(ConllCorpus(file).sentences())) == 2


def test_a_word_with_a_hash_between_empty_lines_is_a_comment(tmp_path, nlp):
    text = "###MEDLINE:95369245\n\nIL-2 B-DNA\ngene I-DNA\n\n###MEDLINE:7\n\nIt O\n\n#end"
    file = write(tmp_path / "x.iob2", text)
    assert tokens_and_labels(file, nlp) == [[("IL-2", "DNA"), ("gene", "DNA")], [("It", "")]]
    file = write(tmp_path / "x.iob2", "Ada B-PER\n\n#a\n# comment\nIt O\n")
    with pytest.raises(CorpusError, match=r"x.iob2:3: '#a' is a token without valid columns"):
        tokens_and_labels(file, nlp)


@pytest.mark.parametrize(
    "line",
    ["-DOCSTART-", "-docstart- O", "--DOCSTART-- O", "<DOCSTART> O", "</DOCEND>", "-DOCEND- O"],
)
def test_spellings_of_document_lines(tmp_path, line):
    file = write(tmp_path / "x.conll", f"{line}\nAda B-PER\n{line}\nIt O\n")
    sentences = list(ConllCorpus(file).sentences())
    assert [list(sentence.words) for sentence in sentences] == [["Ada"], ["It"]]
    assert sentences[0].document != sentences[1].document
