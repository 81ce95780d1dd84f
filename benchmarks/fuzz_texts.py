"""Predict random Unicode texts, alone and in batches: `scripts/fuzz_texts --help`."""

import random
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Adam, fix_random_seed
from tqdm import tqdm

from bigru_tagger import HFCorpus
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS, TASKS

_BLOCK = 2000  # texts whose batches are compared with the same texts alone
_CHARACTERS = {
    "@misc": "bigru_tagger.CharCNNEmbed.v1",
    **{"width": 16, "filters": 24, "window": 3, "rows": 300, "max_length": 24},
    "fold_digits": False,
}
_MODELS: dict[str, dict[str, Any]] = {
    "bigru_ner": {"hidden": 24, "decode": "crf"},
    "bigru_tagger": {"hidden": 24},
    "bigru_chunker": {"hidden": 24, "embed": {"characters": _CHARACTERS}},
}
_ALPHABETS = {
    "Latin": "abcdeABCDE' -.,éßıİŁǆﬁ",
    "right to left": "אבגדהשלוםابجدهوز٠١٢ \u200f\u200e\u202b\u202e\u202c\u2067\u2069",
    "zero width": "ab \u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u034f",
    "combining": "aeo \u0300\u0301\u0323\u0489\u20dd\u3099\u094d\u0e49",
    "control": "ab \x00\x01\x07\x08\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\x9f",
    "white space": " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000",
    "Han, Hangul and Thai": "東京日本語한국어ไทย々〆ｶﾞ",
    "private and unassigned": "a \ue000\uf8ff\U000f0000\U0010fffd\uffff\ufdd0\U000e0001\u0378",
    "digits and symbols": "0123٣५᠑Ⅷ²½№™€$%#@&/\\|<>[]{}()\"'`~^=+*_",
}
_EMOJI = (
    *(
        "👩‍👩‍👧‍👦",
        "👍🏿",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "🇩🇪🇫",
        "1️⃣",
        "❤️‍🔥",
    ),
    *("\u200d", "\ufe0f", "🏿", "🇦"),
)
_LONGEST = 1_000_000  # the longest text that spaCy accepts


def train_pipeline(steps: int = 60, seed: int = 0) -> Language:
    """Train the three components on the sample corpus, with a small network each.

    steps (int): the number of updates.
    seed (int): the seed.
    RETURNS (Language): the pipeline.
    """
    fix_random_seed(seed)
    nlp = spacy.blank("en")
    for factory, model in _MODELS.items():
        nlp.add_pipe(factory, config={"model": model})
    examples = list(HFCorpus("bigru_tagger/sample", limit=400)(nlp))
    optimizer = nlp.initialize(lambda: examples, sgd=Adam(0.01))
    for step in range(steps):
        start = step * 32 % len(examples)
        nlp.update(examples[start : start + 32], sgd=optimizer, losses={})
    return nlp


def random_text(rng: random.Random, longest: int = 2000) -> str:
    """Make a random text.

    rng (Random): the source of randomness.
    longest (int): the maximum number of characters.
    RETURNS (str): the text. About one in 50 is empty, and one in 200 is one long token.
    """
    drawn = rng.random()
    if drawn < 0.02:
        return ""
    if drawn < 0.025:
        text = rng.choice("aéא東\u0301\u200d👍\x00") * rng.randint(min(200, longest), longest)
    elif drawn < 0.05:
        text = "".join(rng.choices(_ALPHABETS["white space"], k=rng.randint(1, 20)))
    elif drawn < 0.1:
        # Any code point that UTF-8 can encode.
        ends = rng.choices((0x7F, 0x2FFF, 0xFFFF, 0x10FFFF), k=rng.randint(1, 30))
        points = (rng.randint(0, end) for end in ends)
        text = "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)
    else:
        alphabets = rng.sample(list(_ALPHABETS.values()), rng.randint(1, 3))
        parts: list[str] = []
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.15:
                parts += rng.choices(_EMOJI, k=rng.randint(1, 4))
            else:
                parts += rng.choices(rng.choice(alphabets), k=rng.randint(1, 9))
            parts.append(rng.choice((" ", " ", " ", "", "\n", "\u200b")))
        text = "".join(parts)
    return text[:longest]


def longest_texts() -> list[str]:
    """Make texts of the length that spaCy accepts.

    RETURNS (list[str]): texts of one token, and of many tokens.
    """
    # No emoji: spaCy's tokenizer needs quadratic time for a run of them.
    repeated = ("x", "\u0301", " ", "東", "ab ", "\n\u2028")
    return [(text * _LONGEST)[:_LONGEST] for text in repeated]


def read_doc(doc: Doc) -> tuple[list[Any], list[float]]:
    """Read the annotation of the three components.

    doc (Doc): the Doc.
    RETURNS (tuple[list[Any], list[float]]): all spans (with the place, the first token, the token
        after the last, and the label), and the confidences of entities and chunks.
    """
    spans = [
        (task.place, span.start, span.end, span.label_)
        for task in TASKS.values()
        for span in task.stored(doc)
    ]
    confidences = [
        confidence
        for task in (ENTITIES, CHUNKS)
        for _, confidence in sorted(task.probabilities(doc, ["confidence"]).items())
    ]
    return spans, confidences


def problems_of(doc: Doc, text: str) -> Iterator[str]:
    """Check the annotation of one Doc.

    doc (Doc): the Doc.
    text (str): its text.
    YIELDS (str): what is wrong: the text or an offset differs, spans overlap, a tag or a confidence
        is missing, or a confidence is not a probability.
    """
    if doc.text != text:
        yield "the Doc has another text"
    for task in (ENTITIES, CHUNKS):
        end = 0
        for span in task.stored(doc):
            if not end <= span.start < span.end <= len(doc):
                yield f"{task.singular} {span.start}:{span.end} overlaps, or is not in the Doc"
            if text[span.start_char : span.end_char] != span.text or not span.label_:
                yield f"{task.singular} {span.start}:{span.end} has another text, or no label"
            end = span.end
    if len(TAGS.stored(doc)) != len(doc):
        yield "a token has no tag"
    spans, confidences = read_doc(doc)
    if len(confidences) + len(doc) != len(spans) or not all(0.0 <= p <= 1.0 for p in confidences):
        yield "a confidence is missing, or is not between 0 and 1"


def compare(nlp: Language, texts: Sequence[str], rng: random.Random) -> tuple[list[str], float]:
    """Compare the annotation of texts alone with that in batches, in random order.

    nlp (Language): a pipeline with the three components.
    texts (Sequence[str]): the texts.
    rng (Random): the source of randomness, for the order and the size of batches.
    RETURNS (tuple[list[str], float]): a description of each problem, and the largest difference
        of a confidence.
    """
    problems: list[str] = []
    alone = []
    for text in texts:
        doc = nlp(text)
        problems += (f"{text[:60]!r}: {problem}" for problem in problems_of(doc, text))
        alone.append(read_doc(doc))
    order = list(range(len(texts)))
    rng.shuffle(order)
    size = rng.choice((2, 7, 32, 256))
    docs = nlp.pipe([texts[index] for index in order], batch_size=size)
    largest = 0.0
    for index, doc in zip(order, docs, strict=True):
        spans, confidences = read_doc(doc)
        if spans != alone[index][0]:
            problems.append(f"{texts[index][:60]!r}: another result in batches of {size}")
            continue
        pairs = zip(confidences, alone[index][1], strict=True)
        largest = max([largest, *(abs(one - other) for one, other in pairs)])
    return problems, largest


def fuzz_texts(
    texts: Annotated[int, typer.Option(help="The number of random texts.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="The seed of the texts and of the weights.")] = 0,
    *,
    longest: Annotated[bool, typer.Option(help="Also texts of a million characters.")] = False,
) -> None:
    """Predict random texts with three components, and check offsets and equality in batches.

    Texts mix scripts, zero-width, combining and control characters, white space, emoji sequences
    and unassigned code points. Each text is predicted alone, and in batches of random size and
    order. Exits with status 1 if there is a problem. Seed and peak memory are printed.
    """
    nlp = train_pipeline(seed=seed)
    rng = random.Random(seed)
    problems: list[str] = []
    difference = 0.0
    peaks = []
    start = time.process_time()
    typer.echo(f"seed {seed}; peak memory before: {_peak()} MiB")
    for done in tqdm(range(0, texts, _BLOCK), unit=" blocks", disable=None):
        block = [random_text(rng) for _ in range(min(_BLOCK, texts - done))]
        with nlp.memory_zone():  # spaCy otherwise keeps all words
            found, largest = compare(nlp, block, rng)
        problems += found
        difference = max(difference, largest)
        peaks.append(_peak())
    seconds = time.process_time() - start
    typer.echo(f"{texts:,} texts in {seconds:.0f} CPU s: {len(problems)} problems")
    typer.echo(f"largest difference of a confidence: {difference:.1e}")
    typer.echo(
        f"peak memory: {peaks[0]} MiB after the first {_BLOCK:,} texts, {peaks[-1]} MiB at the end"
    )
    if longest:
        for text in longest_texts():
            with nlp.memory_zone():
                doc = nlp(text)
                problems += (f"{text[:10]!r}…: {problem}" for problem in problems_of(doc, text))
                typer.echo(f"{text[:3]!r}…, {len(doc):,} tokens; peak memory: {_peak()} MiB")
    for problem in problems[:20]:
        typer.echo(problem, err=True)
    raise typer.Exit(code=bool(problems))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Run the command line."""
    typer.run(fuzz_texts)


if __name__ == "__main__":
    main()
