import re

import pytest
from samples import ROOT, build, train

from benchmarks.load_server import Load, keep_component, load_server


def test_rates_and_percentiles() -> None:
    load = Load(seconds=2.0, cpu=0.5, latencies=[0.001 * i for i in range(1, 102)], refused=3)
    assert load.rate == 50.5
    assert load.rate_of_cpu == 202.0
    assert load.percentile(50) == pytest.approx(51.0)
    assert load.percentile(99) == pytest.approx(100.0)


def test_only_one_component_is_kept() -> None:
    nlp = keep_component(build("bigru_tagger", "bigru_ner"), "bigru_ner")
    assert nlp.pipe_names == ["bigru_ner"]
    with pytest.raises(ValueError, match="no component 'ner' in bigru_ner: set --pipe"):
        keep_component(nlp, "ner")


@pytest.mark.slow
def test_servers_and_loops_are_measured(tmp_path, capsys) -> None:
    nlp = build("bigru_ner")
    train(nlp, steps=2)
    nlp.to_disk(tmp_path / "model")
    data = str(ROOT / "bigru_tagger" / "sample")
    load_server(
        [str(tmp_path / "model")], data, clients=[1, 3], pipe="bigru_ner", seconds=0.2, rounds=1
    )
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines if line.startswith("model ")]
    assert [row[1] for row in rows] == ["nlp(text) in a loop", "1 clients", "3 clients"]
    for row in rows:
        rate, per_cpu, median, highest, refused = map(float, row[2:])
        assert rate > 0
        assert per_cpu > 0
        assert 0 < median <= highest
        assert refused == 0
