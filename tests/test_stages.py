"""The stages of prediction, under torch's profiler and without it."""

import pytest
import torch
from samples import TINY, build, read_examples
from spacy.language import Language
from torch.profiler import ProfilerActivity, profile

from bigru_tagger import stages
from bigru_tagger.stages import STAGES, stage


@pytest.fixture(scope="module")
def nlp() -> Language:
    """All components, untrained, with all parts of the network: tests must leave it as it is."""
    model = {**TINY, "occurrences": 4}
    return build("bigru_ner", "bigru_tagger", "bigru_chunker", model=model)


def test_a_profiler_sees_every_stage_of_prediction(nlp: Language) -> None:
    docs = [example.predicted for example in read_examples(nlp.vocab)]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        list(nlp.pipe(docs))
    calls = {event.key: event.count for event in profiled.key_averages()}
    assert {name for name in calls if name.startswith("bigru_tagger.")} == set(STAGES)
    # One batch for each of the three components; tags have no marginals.
    components = (stages.READ, stages.NETWORK, stages.ENCODE, stages.DECODE, stages.ANNOTATE)
    assert [calls[name] for name in components] == [3] * 5
    assert calls[stages.MARGINALS] == 2


def test_nothing_is_recorded_without_a_profiler(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.profiler, "record_function", pytest.fail)
    nlp("Ada wrote to Bob .")


def test_a_stage_is_the_function_that_it_wraps() -> None:
    @stage(stages.DECODE)
    def divide(number: int, *, by: int) -> float:
        """Divide."""
        return number / by

    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    assert divide(6, by=3) == 2.0
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        assert divide(6, by=3) == 2.0
        with pytest.raises(ZeroDivisionError):
            divide(1, by=0)
    assert [e.count for e in profiled.key_averages() if e.key == stages.DECODE] == [2]
