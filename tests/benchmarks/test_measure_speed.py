"""The benchmark: order, counts and tables with a test clock; and one run of the script."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
import torch
import typer
from click.testing import Result
from samples import ROOT, SENTENCES, TINY, build
from spacy.language import Language
from spacy.tokens import Doc
from typer.testing import CliRunner

from benchmarks import measure_speed
from benchmarks.speed import timing as timing_module
from benchmarks.speed.memory import ZONES, Memory, measure_memory, resident_memory, run_stream
from benchmarks.speed.passages import (
    Passage,
    Shape,
    first_words,
    join,
    part,
    read_passages,
    reshape,
    short_text,
    stream,
)
from benchmarks.speed.plot import plot_benchmark
from benchmarks.speed.prediction import (
    COLD,
    FULL,
    QUICK,
    System,
    load_system,
    measure_latency,
    measure_lengths,
    measure_prediction,
    our_shims,
    parse_system,
    shapes,
)
from benchmarks.speed.report import Benchmark, read_benchmark, render_benchmark
from benchmarks.speed.roofline import (
    Roofline,
    _recurrences,
    measure_roofline,
    recurrent_flops,
    replaced,
)
from benchmarks.speed.stages import REST, StageTimes, measure_stages, stage_seconds
from benchmarks.speed.timing import Timing, time_in_turn
from benchmarks.speed.training import (
    measure_training,
    parse_training,
    read_configs,
)
from bigru_tagger import plots
from bigru_tagger.network import gru
from bigru_tagger.runtime.spec import NetworkSpec
from bigru_tagger.stages import STAGES

CONFIG = ROOT / "configs" / "sample.cfg"
DATA = "bigru_tagger/sample"
STAGE_NAMES = [*(name.removeprefix("bigru_tagger.") for name in STAGES), REST]


@pytest.fixture(autouse=True)
def collected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count garbage collections instead of running them, because they are slow."""
    calls: list[str] = []
    collector = SimpleNamespace(collect=lambda: calls.append("collect"))
    monkeypatch.setattr(timing_module, "gc", collector)
    return calls


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def passage(text: str, *starts: int) -> Passage:
    words = text.split()
    known = [i in starts for i in range(len(words))] if starts else None
    return Passage(words, [True] * len(words), known)


PASSAGES = [passage(text, 0) for text, *_ in SENTENCES]


def timing(system: str, *seconds: float, variant: str = "", words: int = 100) -> Timing:
    return Timing(system, variant, (words,) * len(seconds), seconds)


@pytest.fixture(scope="module")
def tiny() -> Language:
    """An untrained pipeline, which tests must not change."""
    nlp: Language = build("bigru_ner")
    return nlp


def test_runs_take_turns_and_their_preparation_is_not_timed(collected: list[str]) -> None:
    clock, order = Clock(), collected
    seconds = {"a": iter([9.0, 1.0, 2.0, 4.0]), "b": iter([9.0, 5.0, 5.0, 5.0])}

    def make_task(name: str) -> Callable[[], Callable[[], int]]:
        def prepare() -> Callable[[], int]:
            order.append(f"prepare {name}")
            clock.now += 1000.0

            def work() -> int:
                order.append(name)
                clock.now += next(seconds[name])
                return 20

            return work

        return prepare

    tasks = {("a", ""): make_task("a"), ("b", COLD): make_task("b")}
    first, second = time_in_turn(tasks, 3, clock=clock)
    turn = ["prepare a", "collect", "a", "prepare b", "collect", "b"]
    assert order == ["collect", *turn * 4]
    assert first == Timing("a", "", (20, 20, 20), (1.0, 2.0, 4.0))  # without the warm-up
    assert (first.speeds, first.speed) == ([20.0, 10.0, 5.0], 10.0)
    assert second == Timing("b", COLD, (20, 20, 20), (5.0, 5.0, 5.0))


def test_a_stage_counts_without_those_inside_it() -> None:
    ranges = [  # in microseconds: encode is inside network and ends with it; then a pause
        {"name": "bigru_tagger.annotate", "ts": 900.0, "dur": 40.0},
        {"name": "bigru_tagger.network", "ts": 100.0, "dur": 500.0},
        {"name": "bigru_tagger.embed", "ts": 150.0, "dur": 50.0},
        {"name": "bigru_tagger.encode", "ts": 300.0, "dur": 300.0},
        {"name": "bigru_tagger.embed", "ts": 600.0, "dur": 8.0},
        {"name": "rest", "ts": 0.0, "dur": 1000.0},
    ]
    seconds = stage_seconds(ranges)
    expected = dict.fromkeys(STAGE_NAMES, 0.0)
    expected |= {"network": 150e-6, "embed": 58e-6, "encode": 300e-6, "annotate": 40e-6}
    expected[REST] = (1000 - 500 - 8 - 40) * 1e-6
    assert seconds == pytest.approx(expected)
    assert sum(seconds.values()) == pytest.approx(1000e-6)
    assert list(seconds) == STAGE_NAMES


def test_a_replaced_function_is_restored() -> None:
    before = gru.predict_gru
    with replaced(gru, "predict_gru", lambda function: lambda: function):
        assert gru.predict_gru() is before
        with pytest.raises(TypeError):
            gru.predict_gru("much")
    assert gru.predict_gru is before
    with (
        pytest.raises(
            AttributeError, match=r"bigru_tagger\.network\.gru defines no function 'predict'"
        ),
        replaced(gru, "predict", lambda function: function),
    ):
        pass


def test_systems() -> None:
    assert parse_system("sm=en_core_web_sm") == System("sm", "en_core_web_sm")
    assert parse_system("sm=en_core_web_sm:tok2vec,ner").keep == ("tok2vec", "ner")
    assert parse_system("a b=out/model-best:ner") == System("a b", "out/model-best", ("ner",))
    assert parse_system("a=C:\\models\\best") == System("a", "C:\\models\\best")
    assert parse_system("a=C:\\best:ner") == System("a", "C:\\best", ("ner",))
    for text in ("en_core_web_sm", "=x", "a="):
        with pytest.raises(ValueError, match=f"--model {text}: write NAME=PIPELINE"):
            parse_system(text)


def test_a_path_with_a_colon(tmp_path: Path) -> None:
    (tmp_path / "model:ner").mkdir()
    assert parse_system(f"a={tmp_path}/model:ner").keep is None


def test_components_to_keep(tmp_path: Path) -> None:
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker")
    nlp.disable_pipe("bigru_chunker")
    nlp.to_disk(tmp_path)
    kept = load_system(System("a", str(tmp_path), ("bigru_chunker", "bigru_ner")))
    assert kept.component_names == kept.pipe_names == ["bigru_ner", "bigru_chunker"]
    assert load_system(System("a", str(tmp_path))).pipe_names == ["bigru_ner", "bigru_tagger"]
    with pytest.raises(ValueError, match=r"--model a: .* no component parser; it has bigru_ner, b"):
        load_system(System("a", str(tmp_path), ("parser", "bigru_ner")))
    with pytest.raises(ValueError, match="Cannot load 'not_there' as a spaCy pipeline"):
        load_system(System("a", "not_there"))


def test_our_networks_are_found(tiny: Language) -> None:
    assert our_shims(tiny) == [tiny.get_pipe("bigru_ner").model.shims[0]]
    assert our_shims(spacy.blank("en")) == []
    other = spacy.blank("en")
    other.add_pipe("sentencizer")
    other.add_pipe("ner")
    assert our_shims(other) == []


def test_data() -> None:
    whole = read_passages(DATA, split="test")
    few = read_passages(DATA, split="test", limit=20)
    assert whole[: len(few)] == few
    assert sum(map(len, few[:-1])) < 20 <= sum(map(len, few))
    (document, *_) = read_passages(DATA, split="test", sentences_per_doc=2)
    assert document.words == [*whole[0].words, *whole[1].words]
    assert document.starts is not None
    assert sum(map(bool, document.starts)) == 2
    doc = document.doc(spacy.blank("en").vocab)
    assert [token.text for token in doc] == document.words
    assert [sentence.start for sentence in doc.sents] == [0, len(whole[0])]
    assert not doc.has_annotation("ENT_IOB")


def test_no_data(tmp_path: Path) -> None:
    spacy_file = tmp_path / "empty.spacy"
    spacy.tokens.DocBin().to_disk(spacy_file)
    with pytest.raises(ValueError, match="the split 'test' has no tokens"):
        read_passages(str(spacy_file), split="test")
    with pytest.raises(ValueError, match="no setting `sentences_per_doc`"):
        read_passages(str(spacy_file), split="test", sentences_per_doc=1)


def test_passages_are_joined_and_split() -> None:
    parts = [passage("a b c", 0, 2), passage("d e")]
    whole = join(parts)
    assert whole.words == ["a", "b", "c", "d", "e"]
    assert whole.starts == [True, False, True, True, False]
    first, second = reshape(parts, Shape(2, 4, True))
    assert (first.words, first.starts) == (["a", "b", "c", "d"], [True, False, True, True])
    assert (second.words, second.starts) == (["e", "a", "b", "c"], [True, True, False, True])
    assert [part.starts for part in reshape(parts, Shape(2, 4, False))] == [None, None]
    sentences = [passage("a b", 0), passage("c", 0), passage("d e", 0)]
    assert part(parts) == sentences
    assert reshape(parts, Shape(4, None, True)) == [*sentences, sentences[0]]


def test_shapes() -> None:
    sizes = replace(FULL, lengths=(100, 1_000), length_words=500, numbers=(1, 5_000))
    assert shapes(sizes) == [
        Shape(5, 100, True),
        Shape(5, 100, False),
        Shape(1, 1_000, True),
        Shape(1, 1_000, False),
        Shape(1, None, True),
        Shape(5_000, None, True),
    ]
    assert str(Shape(5, 1_000, True)) == "5 Docs of 1,000 tokens, with sentence starts"
    assert str(Shape(1, None, False)) == "1 Doc of one sentence, without sentence starts"


def test_the_stream_has_new_words() -> None:
    streamed = list(stream(PASSAGES, 2_000, random_share=0.1))
    assert sum(map(len, streamed[:-1])) < 2_000 <= sum(map(len, streamed))
    known = {word for part in PASSAGES for word in part.words}
    new = [word for part in streamed for word in part.words if word not in known]
    assert 100 < len(new) < 300
    assert len(set(new)) == len(new)
    assert streamed == list(stream(PASSAGES, 2_000, random_share=0.1))
    assert [part.words for part in stream(PASSAGES, 8, random_share=0.0)] == [PASSAGES[0].words]


def test_the_first_words() -> None:
    remaining = iter([passage("a b"), passage("c"), passage("d e")])
    assert list(first_words(remaining, 3)) == [passage("a b"), passage("c")]
    assert list(first_words(remaining, 3)) == [passage("d e")]
    assert list(first_words(PASSAGES, 0)) == PASSAGES[:1]


def test_a_short_sentence() -> None:
    long = passage(" ".join("abcdefghijklmnopqrstuvwxyz"))
    assert short_text([long, *PASSAGES]) == "Ada Lovelace wrote to Babbage from London ."
    assert short_text([passage("Too short .")]) == "Too short ."
    tight = Passage(["Yes", "."], [False, True], None)
    assert short_text([tight]) == "Yes."


def test_prediction_counts_words_and_empties_the_cache_if_cold(
    tiny: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shim,) = our_shims(tiny)
    missing = []
    prepare = shim.prepare
    monkeypatch.setattr(shim, "prepare", lambda words: missing.append(1) or prepare(words))
    other = spacy.blank("en")
    words = sum(map(len, PASSAGES))
    timings = measure_prediction({"tiny": tiny, "other": other}, PASSAGES, 2)
    assert [(t.system, t.variant) for t in timings] == [("tiny", ""), ("tiny", COLD), ("other", "")]
    assert all(t.amounts == (words, words) for t in timings)
    assert len(missing) in (3, 4)  # three cold runs, and the first run if the cache was empty


def test_prediction_with_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []

    def pipe(docs: list[Doc], n_process: int) -> list[Doc]:
        numbers.append(n_process)
        return docs

    nlp = spacy.blank("en")
    monkeypatch.setattr(nlp, "pipe", pipe)
    alone, together = measure_prediction({"other": nlp}, PASSAGES, 2, processes=3)
    assert numbers == [1, 3] * 3
    assert (alone.variant, together.variant) == ("", "3 processes")
    assert together.amounts == alone.amounts


def test_latency(tiny: Language) -> None:
    (timings,) = measure_latency({"tiny": tiny}, "Bob met Eve .", 3)
    assert timings.amounts == (4, 4, 4)


def test_all_stages_take_time() -> None:
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker", model={**TINY, "occurrences": 4})
    warm, cold = measure_stages({"ours": nlp, "other": spacy.blank("en")}, PASSAGES, 2)
    assert (warm.variant, cold.variant) == ("", COLD)
    for times in (warm, cold):
        assert times.words == sum(map(len, PASSAGES))
        assert len(times.rounds) == 2
        for seconds in times.rounds:
            assert list(seconds) == STAGE_NAMES
            assert all(seconds.values())
    assert measure_stages({"other": spacy.blank("en")}, PASSAGES, 1) == []


def test_the_median_of_each_stage() -> None:
    rounds = ({"a": 1.0, "b": 6.0}, {"a": 3.0, "b": 5.0}, {"a": 2.0, "b": 9.0})
    assert StageTimes("x", "", 10, rounds).seconds == {"a": 2.0, "b": 6.0}


def test_flops_of_the_recurrence() -> None:
    gru = NetworkSpec({}, [128, 64])
    assert recurrent_flops(gru) == 2 * (2 * 3 * 128 * 128) + 2 * (2 * 3 * 64 * 64)
    assert recurrent_flops(NetworkSpec({}, [10], cell="lstm", bidirectional=False)) == 2 * 4 * 100


def test_roofline() -> None:
    model = {**TINY, "hidden": [8, 4], "by_sentence": True}
    nlp = build("bigru_ner", model=model)
    nlp.batch_size = 3  # so that there are two batches of four Docs
    lstm = build("bigru_ner", model={**TINY, "cell": "lstm", "bidirectional": False})
    by_torch = build("bigru_ner", model={**TINY, "predict_precision": "bfloat16"})
    systems = {"ours": nlp, "lstm": lstm, "bfloat16": by_torch, "other": spacy.blank("en")}
    roofline = measure_roofline(systems, PASSAGES, 2, matrix=8)
    assert roofline.product.amounts == (2 * 8**3,) * 2
    ours = 2 * (2 * 3 * 8 * 8) + 2 * (2 * 3 * 4 * 4)
    assert roofline.flops == {"ours": ours, "lstm": 2 * 4 * 16 * 16}
    assert [recurrence.system for recurrence in roofline.recurrences] == ["ours", "lstm"]
    for recurrence in roofline.recurrences:
        assert recurrence.amounts == (sum(map(len, PASSAGES)),) * 2


def test_the_recurrences_are_those_of_prediction() -> None:
    nlp = build("bigru_ner", model={**TINY, "hidden": [8, 4], "by_sentence": True})
    nlp.batch_size = 3
    first, second, *others = _recurrences(nlp, PASSAGES)
    assert len(others) == 2  # two layers in each of two batches
    n_words = sum(len(passage) for passage in PASSAGES[:3])
    for (layer, runs, shared, columns), units in ((first, 8), (second, 4)):
        assert columns is None
        assert layer(runs, shared, columns).shape == (n_words, 2 * units)


def test_the_share_of_the_peak() -> None:
    product = Timing("", "product", (2_000, 2_000), (2.0, 1.0))
    roofline = Roofline(10, product, {"a": 50}, [timing("a", 10.0)])
    assert roofline.peak == 2_000
    assert roofline.share(roofline.recurrences[0]) == 50 * 10 / 2_000


def test_lengths(tiny: Language) -> None:
    wanted = [Shape(2, 30, True), Shape(3, None, True)]
    measured = measure_lengths({"tiny": tiny}, PASSAGES, wanted, 1)
    assert list(measured) == wanted
    assert [timing.amounts for (timing,) in measured.values()] == [(60,), (19,)]


def test_memory_is_measured_during_the_stream(tiny: Language, tmp_path: Path) -> None:
    tiny.to_disk(tmp_path)
    system = System("tiny", str(tmp_path))
    threads = torch.get_num_threads()
    memory = run_stream(system, PASSAGES, 1_000, 4, threads)
    assert (memory.system, memory.variant) == ("tiny", "")
    assert memory.words[0] == 0
    for words, least in zip(memory.words, (0, 250, 500, 750, 1_000), strict=True):
        assert least <= words < least + 10
    assert memory.strings[-1] > memory.strings[0]
    assert memory.cached == sorted(memory.cached)
    assert memory.cached[0] == 0.0 < memory.cached[1]
    in_zones = run_stream(system, PASSAGES, 1_000, 4, threads, variant=ZONES)
    assert in_zones.words == memory.words
    assert in_zones.strings == [memory.strings[0]] * 5
    if resident_memory() is not None:
        assert all(mebibytes > 10 for mebibytes in memory.mebibytes)


def test_memory_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.memory._STATM", Path("/not/there"))
    assert resident_memory() is None
    assert measure_memory([System("a", "not_there")], PASSAGES, QUICK, 1) == []


def test_configs_to_train() -> None:
    assert parse_training(f"a={CONFIG}") == ("a", CONFIG)
    with pytest.raises(ValueError, match="--train a: write NAME=CONFIG"):
        parse_training("a")
    with pytest.raises(ValueError, match=r"none\.cfg: no such config"):
        parse_training("a=none.cfg")
    configs = {"a": CONFIG, "b": ROOT / "configs" / "wnut17.cfg"}
    overrides = {"training.dropout": 0.25, "paths.domain_clusters": "tweets.paths"}
    read = read_configs(configs, overrides)
    assert read["a"]["training"]["dropout"] == read["b"]["training"]["dropout"] == 0.25
    assert "domain_clusters" not in read["a"]["paths"]
    assert read["b"]["paths"]["domain_clusters"] == "tweets.paths"
    read = read_configs(configs, {"b.training.dropout": 0.5, "training.dropout": 0.25})
    assert read["a"]["training"]["dropout"] == 0.25
    assert read["b"]["training"]["dropout"] == 0.5
    with pytest.raises(ValueError, match=r"--training\.none\.x: none of the configs .*wnut17\.cfg"):
        read_configs(configs, {"training.none.x": 1})


SMALL = {
    "paths.data": DATA,
    "paths.clusters": None,  # a million words, seconds to read
    "components.ner.model.hidden": 8,
    "corpora.train.limit": 40,
}


def test_a_round_of_training_has_enough_words() -> None:
    (timings,) = measure_training(read_configs({"a": CONFIG}, SMALL), 2, n_words=150)
    assert len(timings.amounts) == 2
    assert all(150 <= amount < 1_000 for amount in timings.amounts)


def test_small_first_batches_are_skipped() -> None:
    growing = {
        "@batchers": "spacy.batch_by_sequence.v1",
        "size": {"@schedules": "compounding.v1", "start": 1, "stop": 8, "compound": 2.0},
        "get_length": None,
    }
    words = []
    for from_step in (0, 3):
        configs = read_configs({"a": CONFIG}, SMALL)
        configs["a"]["training"]["batcher"] = growing
        (timings,) = measure_training(configs, 1, n_words=1, from_step=from_step)
        words += timings.amounts
    small, large = words  # batches of two Docs, after the warm-up's one, and of eight
    assert 2 * small < large


@pytest.fixture
def result() -> Benchmark:
    shape = Shape(2, 100, True)
    rounds = ({"features": 0.0002, REST: 0.0006},)
    product = Timing("", "product", (16_000_000_000,), (1.0,))
    return Benchmark(
        {"date": "today"},
        "other",
        prediction=[
            timing("a|b", 0.01, 0.02, 0.025),
            timing("a|b", 0.05, 0.05, 0.05, variant=COLD),
            timing("other", 0.1, 0.1, 0.1),
        ],
        latency=[timing("a|b", 0.002, 0.002, words=7), timing("other", 0.004, 0.004, words=7)],
        stages=[StageTimes("a|b", "", 100, rounds)],
        roofline=Roofline(2_000, product, {"a|b": 1_000_000}, [timing("a|b", 0.025)]),
        lengths={shape: [timing("a|b", 0.1), timing("other", 0.2)]},
        memory=[Memory("a|b", [0, 5_000], [200.4, 1_234.5], [0.0, 99.6], [10, 2_000])],
        training=[timing("ours", 0.1)],
    )


def test_the_tables(result: Benchmark) -> None:
    tables = re.findall(r"(?:^\|.*\n?)+", render_benchmark(result), re.MULTILINE)
    assert [table.strip() for table in tables] == [
        "| system | words/s | lowest to highest | times other |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a\\|b | 5,000 | 4,000 to 10,000 | 5.00 |\n"
        "| a\\|b, cold | 2,000 | 2,000 to 2,000 | 2.00 |\n"
        "| other | 1,000 | 1,000 to 1,000 | 1.00 |",
        "| system | median | 95th percentile | words | calls | times other |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| a\\|b | 2.00 | 2.00 | 7 | 2 | 2.00 |\n"
        "| other | 4.00 | 4.00 | 7 | 2 | 1.00 |",
        "| µs per word (share) | a\\|b |\n"
        "| --- | ---: |\n"
        "| features | 2.00 (25%) |\n"
        "| rest | 6.00 (75%) |\n"
        "| all | 8.00 |",
        "| system | words/s of the recurrence | FLOPs per word | GFLOP/s | share of the peak |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| a\\|b | 4,000 | 1,000,000 | 4.0 | 25% |",
        "| words/s | a\\|b | other |\n"
        "| --- | ---: | ---: |\n"
        "| 2 Docs of 100 tokens, with sentence starts | 1,000 | 500 |",
        "| words | a\\|b |\n| --- | ---: |\n| 0 | 200 (0; 10) |\n| 5,000 | 1,234 (100; 2,000) |",
        "| system | words/s | lowest to highest |\n"
        "| --- | ---: | ---: |\n"
        "| ours | 1,000 | 1,000 to 1,000 |",
    ]


def test_empty_tables() -> None:
    product = Timing("", "product", (1,), (1.0,))
    nothing = Benchmark(
        {"date": "today"}, None, stages=[], memory=[], roofline=Roofline(2, product, {}, [])
    )
    text = render_benchmark(nothing)
    assert "No system has a component" in text
    assert "No system has recurrent layers" in text
    assert "Memory was not measured, because it can only be read on Linux" in text
    assert "| " not in text
    assert render_benchmark(Benchmark({"date": "today"}, None)) == "# Speed\n\n- date: today"


def test_all_times_are_in_the_json(result: Benchmark) -> None:
    content = json.loads(json.dumps(result.to_json()))
    assert content["about"] == {"date": "today", "baseline": "other"}
    assert content["prediction"][0]["seconds"] == [0.01, 0.02, 0.025]
    assert content["stages"][0]["rounds"] == [{"features": 0.0002, REST: 0.0006}]
    assert content["roofline"]["flops"] == {"a|b": 1_000_000}
    assert content["lengths"][0]["tokens"] == 100
    assert content["lengths"][0]["timings"][1]["seconds"] == [0.2]
    assert content["memory"][0]["mebibytes"] == [200.4, 1_234.5]
    assert Benchmark({}, None).to_json()["latency"] is None


def test_the_json_can_be_read_again(result: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.json"
    for benchmark in (result, Benchmark({}, None), Benchmark({}, None, stages=[], latency=[])):
        path.write_text(json.dumps(benchmark.to_json()), encoding="utf8")
        assert read_benchmark(path) == benchmark
    for text in ("", "[]", '{"about": {}}', '{"about": {"baseline": null}, "stages": [{}]}'):
        path.write_text(text, encoding="utf8")
        with pytest.raises(ValueError, match=r"benchmark\.json is not a benchmark\.json of this"):
            read_benchmark(path)


def test_the_plot(result: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "plots" / "all.svg"
    assert plot_benchmark(result, path)
    text = path.read_text(encoding="utf8")
    assert text.startswith("<?xml")
    assert text.rstrip().endswith("</svg>")
    assert not plot_benchmark(Benchmark({}, None), tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


@pytest.fixture
def run_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a temporary folder."""
    app = typer.Typer()
    app.command()(measure_speed.benchmark)
    monkeypatch.chdir(tmp_path)
    # The setting would affect other tests.
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_all_sections_of_a_quick_run(
    run_benchmark: Callable[..., Result],
    tiny: Language,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny.to_disk(tmp_path / "model:best")
    few = {"words": 50, "calls": 2, "matrix": 8, "lengths": (10, 20), "length_words": 20}
    few |= {"numbers": (1, 2), "stream_words": 300, "train_words": 50}
    monkeypatch.setattr(measure_speed, "QUICK", replace(QUICK, **few))
    command = [DATA, "--model", "ours=model:best:bigru_ner", "--baseline", "ours", "--quick"]
    command += ["--train", f"learner={CONFIG}", "--rounds", "1", "--output", "out", "--"]
    command += [part for key, value in SMALL.items() for part in (f"--{key}", json.dumps(value))]
    ended = run_benchmark(*command)
    assert ended.exit_code == 0, ended.output
    written = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf8")
    assert ended.stdout == written
    assert re.findall("^## .*", written, re.MULTILINE) == [
        "## Prediction",
        "## Latency",
        "## Stages of prediction",
        "## Roofline",
        "## Length and number of Docs",
        "## Memory",
        "## Training",
    ]
    assert "- ours: model:best, only bigru_ner" in written
    assert "Written to out/benchmark.md, out/benchmark.json, out/benchmark.svg" in ended.stderr
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text(encoding="utf8"))
    assert all(content.values())
    assert [t["variant"] for t in content["prediction"]] == ["", COLD]
    assert len(content["lengths"]) == 6
    assert [memory["variant"] for memory in content["memory"]] == ["", ZONES]
    assert all(memory["words"][-1] >= 300 for memory in content["memory"])
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_only_some_sections(
    run_benchmark: Callable[..., Result],
    tiny: Language,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny.to_disk(tmp_path / "model")
    few = replace(QUICK, words=500, calls=20)
    monkeypatch.setattr(measure_speed, "QUICK", few)
    ended = run_benchmark(
        DATA, "--model", "ours=model", "--quick", "--only", "latency,stages", "--cpu-time"
    )
    assert ended.exit_code == 0, ended.output
    assert re.findall("^## .*", ended.stdout, re.MULTILINE) == [
        "## Latency",
        "## Stages of prediction",
    ]
    assert "\n- threads: 1 (" in ended.stdout
    assert "\n- times: CPU time of this process" in ended.stdout


def test_tables_of_an_earlier_run(
    run_benchmark: Callable[..., Result], result: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text(json.dumps(result.to_json()), encoding="utf8")
    ended = run_benchmark("--from", "old.json", "--output", "new")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == render_benchmark(result) + "\n"
    assert read_benchmark(tmp_path / "new" / "benchmark.json") == result
    assert (tmp_path / "new" / "benchmark.svg").exists()
    ended = run_benchmark()
    assert ended.exit_code == 1
    assert "There are no data to measure on: give DATA, or --from FILE" in ended.stderr


def test_there_is_no_plot_without_matplotlib(
    run_benchmark: Callable[..., Result],
    tiny: Language,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny.to_disk(tmp_path / "model")
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    ended = run_benchmark(DATA, "--model", "ours=model", "--quick", "--only", "latency")
    assert ended.exit_code == 0, ended.output
    assert "No plot was drawn, because matplotlib is not installed" in ended.stderr
    folder = tmp_path / "output" / "benchmark"
    assert {path.name for path in folder.iterdir()} == {"benchmark.md", "benchmark.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There are no systems to measure: give --model NAME=PIPELINE"),
        (["--model", "x"], "--model x: write NAME=PIPELINE"),
        (["--model", "x=a", "--model", "x=b"], "--model x: this name is used twice"),
        (
            ["--model", "x=a", "--baseline", "y"],
            "--baseline y: no such system; the systems are x",
        ),
        (
            ["--model", "x=a", "--only", "sleep"],
            "--only sleep: the sections are prediction, latency",
        ),
        (["--model", "x=a", "--only", "training"], "--only training: this needs --train"),
        (["--train", f"x={CONFIG}", "--only", "latency"], "--only latency: this needs --model"),
        (["--model", "x=a", "--rounds", "2"], "--rounds 2: use at least 5 rounds"),
        (["--model", "x=a", "--", "--a.b", "1"], "Arguments after -- override settings"),
        (
            ["--model", "x=a", "--processes", "2", "--cpu-time"],
            "--cpu-time excludes other processes",
        ),
        (["--model", "x=not_there"], "Cannot load 'not_there' as a spaCy pipeline"),
        (["--train", "x=none.cfg"], "none.cfg: no such config"),
        (["--peer", "x"], "--peer x: write NAME=COMMAND"),
        (["--peer", "x=not_there", "--only", "stages"], "--only stages: this needs --model"),
        (["--peer", "x=not_there", "--quick"], "--peer x: cannot run not_there"),
    ],
)
def test_wrong_options_are_errors(
    run_benchmark: Callable[..., Result], arguments: list[str], message: str
) -> None:
    ended = run_benchmark(DATA, *arguments)
    assert ended.exit_code == 1
    assert message in ended.stderr
