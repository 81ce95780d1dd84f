"""The routes of the web service, over HTTP."""

import json
import re

import pytest
from clients import alone, entities, same
from samples import NARROW, TEXTS, TINY, build, train

from bigru_tagger import combine
from bigru_tagger.server.schemas import AnnotateResponse

ADA = TEXTS[0]


def test_records_are_those_of_the_pipeline(client, ner):
    reply = client.annotate(*TEXTS, "", "Ἰθάκη 🙂 Oslo")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    expected = [alone(ner, text) for text in [*TEXTS, "", "Ἰθάκη 🙂 Oslo"]]
    assert same(reply.json, {"docs": expected, "errors": []})
    assert entities(reply.json["docs"][0]) == [
        ("Ada Lovelace", "PER"),
        ("Babbage", "PER"),
        ("London", "LOC"),
    ]


def test_an_ensemble_is_served(serve, ner, tmp_path):
    ner.to_disk(tmp_path / "one")
    ensemble = combine([tmp_path / "one", tmp_path / "one"])  # the mean of equal logits
    reply = serve(ensemble).annotate(*TEXTS)
    assert same(reply.json["docs"], [alone(ner, text) for text in TEXTS])
    assert reply.json["errors"] == []


def test_tokens_are_not_split(client):
    (record,) = client.annotate(tokens=[["Ada", "Lovelace", "don't"]]).json["docs"]
    assert [record["text"][t["start"] : t["end"]] for t in record["tokens"]] == [
        "Ada",
        "Lovelace",
        "don't",
    ]
    assert client.annotate(tokens=[]).json == {"docs": [], "errors": []}


def test_a_threshold_applies_to_its_request_only(serve):
    nlp = build("bigru_ner", "bigru_chunker", model=NARROW)
    train(nlp, steps=15)
    nlp.get_pipe("bigru_ner").cfg["threshold"] = 0.5
    client = serve(nlp)
    everything = client.annotate(*TEXTS, threshold=0.0).json["docs"]
    scores = sorted(e["score"] for record in everything for e in record["ents"])
    assert len(scores) > 4
    assert scores[0] < scores[len(scores) // 2]
    for threshold in (scores[len(scores) // 2] - 1e-5, 1.0, None):
        least = 0.5 if threshold is None else threshold
        docs = client.annotate(*TEXTS, threshold=threshold).json["docs"]
        for all_found, record in zip(everything, docs, strict=True):
            kept = [entity for entity in all_found["ents"] if entity["score"] >= least]
            assert same(record["ents"], kept)
            chunks = all_found["spans"]["chunks"]
            if threshold is not None:  # the chunker has no threshold of its own
                chunks = [chunk for chunk in chunks if chunk["score"] >= threshold]
            assert same(record["spans"].get("chunks", []), chunks)
    assert nlp.get_pipe("bigru_ner").cfg["threshold"] == 0.5
    assert nlp.get_pipe("bigru_chunker").cfg["threshold"] == 0.0


def test_hypotheses_have_offsets_in_the_text(client, ner):
    text = "Ships leave New York City daily ."
    (record,) = client.annotate(text, n_best=3).json["docs"]
    assert same({**record, "hypotheses": None}, {**alone(ner, text), "hypotheses": None})
    (sentence,) = record["hypotheses"]["bigru_ner"]
    (expected,) = ner.get_pipe("bigru_ner").hypotheses([ner.make_doc(text)], 3)[0]
    assert same([h["probability"] for h in sentence], [h.probability for h in expected])
    assert len(sentence) == 3
    assert (sentence[0]["start"], sentence[0]["end"]) == (0, len(text))
    assert same(sentence[0]["spans"], record["ents"])
    assert text[record["ents"][0]["start"] : record["ents"][0]["end"]] == "New York City"


def test_hypotheses_of_a_later_component_see_the_results_of_earlier_ones(serve):
    nlp = build("bigru_ner")
    train(nlp)
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "SHIP", "pattern": "London"}])
    (record,) = serve(nlp).annotate(ADA, n_best=2).json["docs"]
    assert ("London", "SHIP") in entities(record)
    for hypothesis in record["hypotheses"]["bigru_ner"][0]:
        assert all(span["end"] <= ADA.index("London") for span in hypothesis["spans"])


def test_gates_are_means_over_units(client, ner):
    (record,) = client.annotate(ADA, gates=True).json["docs"]
    gates = record["gates"]
    assert gates["tokens"] == ADA.split()
    assert gates["tags"][:3] == ["B-PER", "L-PER", "O"]
    assert [part["direction"] for part in gates["layers"]] == ["forward", "backward"]
    for part in gates["layers"]:
        assert len(part["update"]) == len(part["reset"]) == len(gates["tokens"])
        assert all(0.0 < value < 1.0 for value in part["update"] + part["reset"])
    assert client.annotate("", gates=True).json["docs"][0]["gates"] is None


def test_responses_have_the_documented_form(client):
    reply = client.annotate(*TEXTS, n_best=2, gates=True)
    parsed = AnnotateResponse.model_validate_json(reply.text)
    assert json.loads(parsed.model_dump_json(exclude_unset=True)) == reply.json


@pytest.mark.parametrize(
    ("body", "where", "message", "remedy"),
    [
        ('{"texts": ["a", 1]}', "texts[1]", "Input should be a valid string", "/docs"),
        ('{"texts": "a"}', "texts", "Input should be a valid list", "/docs"),
        ('{"tokens": [["a", ""]]}', "tokens[0][1]", "at least 1 character", "/docs"),
        ('{"texts": ["a"], "tokens": []}', "body", "give either `texts` or `tokens`", "/docs"),
        ("{}", "body", "give either `texts` or `tokens`", "/docs"),
        ('{"texts": ["a"], "threshhold": 1}', "threshhold", "not permitted", "threshold, n_best"),
        ('{"texts": ["a"], "threshold": 1.5}', "threshold", "less than or equal to 1", "/docs"),
        ('{"texts": ["a"], "threshold": NaN}', "threshold", "finite number", "/docs"),
        ('{"texts": ["a"], "threshold": "1"}', "threshold", "valid number", "/docs"),
        ('{"texts": ["a"], "n_best": 0}', "n_best", "greater than or equal to 1", "/docs"),
        ('{"texts": ["a"], "n_best": true}', "n_best", "valid integer", "/docs"),
        ('{"texts": ["a"]', "character 15", "not valid JSON", "JSON object"),
        ("[]", "body", "valid dictionary", "JSON object"),
        ("", "body", "Field required", "JSON object"),
        (b"\xff\xfe{", "body", "cannot be read as JSON", "UTF-8"),
        ("[" * 100_000, "body", "cannot be read as JSON", "JSON object"),
        (json.dumps({"texts": ["a"] * 1001}), "texts", "at most 1000 items", "/docs"),
        (
            json.dumps({"texts": ["x" * 19_999, "yz"], "n_best": 1}),
            "body",
            "at most 20000 characters in total; these have 20001",
            "/docs",
        ),
        (json.dumps({"tokens": [["x" * 20_001]], "gates": True}), "body", "have 20001", "/docs"),
        ('{"texts": [1, 2]}', "texts[0]", "(and 1 more errors)", "/docs"),
        (r'{"texts": ["a"], "\ud800": 1}', "body", "unicode", "/docs"),
    ],
)
def test_invalid_requests_are_errors_that_say_where(client, body, where, message, remedy):
    reply = client.post(body)
    assert reply.status == 422
    error = reply.json["error"]
    assert error["where"] == where
    assert message in error["message"]
    assert remedy in error["remedy"]


def test_a_body_without_the_header_of_json_is_an_error_that_names_it(client):
    reply = client.send("POST", "/annotate", '{"texts": []}')
    assert reply.status == 422
    assert "Content-Type: application/json" in reply.json["error"]["remedy"]


def test_paths_and_methods_that_do_not_exist(client):
    assert client.get("/no").status == 404
    assert client.get("/no").json["error"]["where"] == "GET /no"
    assert client.get("/annotate").status == 405
    assert client.get("/assets/../app.py").status == 404


def test_a_pipeline_without_probabilities_refuses_options_for_them(serve):
    nlp = build("bigru_tagger")
    train(nlp)
    client = serve(nlp)
    assert client.annotate(ADA).json["docs"][0]["tokens"][0]["tag"] == "NNP"
    for name, value in (("threshold", 0.5), ("n_best", 2)):
        reply = client.annotate(ADA, **{name: value})
        assert (reply.status, reply.json["error"]["where"]) == (422, name)
    assert 'id="threshold"' not in client.get("/").text


def test_an_lstm_has_no_gates(serve):
    reply = serve(build("bigru_ner", model={**TINY, "cell": "lstm"})).annotate(ADA, gates=True)
    assert (reply.status, reply.json["error"]["where"]) == (422, "gates")
    assert (
        reply.json["error"]["message"]
        == "no component of the pipeline has a single GRU of bigru_tagger"
    )


def test_gates_that_are_not_available_are_refused_with_the_reason(serve, monkeypatch):
    monkeypatch.setattr("bigru_tagger.server.prediction.find_spec", lambda name: None)
    client = serve(build("bigru_ner"))
    reply = client.annotate(ADA, gates=True)
    assert (reply.status, reply.json["error"]["where"]) == (422, "gates")
    assert "pip install 'bigru-tagger[torch]'" in reply.json["error"]["message"]
    assert "PyTorch is not installed" in client.get("/").text
    assert 'id="gates"' not in client.get("/").text


def test_a_failing_text_gets_its_error_and_the_others_their_results(client, ner):
    reply = client.annotate(ADA, "\ud800", "Ada")
    assert reply.status == 200
    assert same(reply.json["docs"], [alone(ner, ADA), None, alone(ner, "Ada")])
    (error,) = reply.json["errors"]
    assert error["index"] == 1
    assert error["message"].startswith("UnicodeEncodeError: ")


def test_new_words_do_not_stay_in_the_vocabulary(client, ner):
    client.annotate("some known words")
    before = len(ner.vocab.strings)
    words = " ".join(f"word{i}" for i in range(1000))
    assert len(client.annotate(words).json["docs"][0]["tokens"]) >= 1000
    assert client.annotate(tokens=[words.split()], n_best=1, gates=True).status == 200
    assert len(ner.vocab.strings) == before
    assert "word999" not in ner.vocab


def test_the_model_and_the_health(client):
    description = client.get("/model").json
    assert description["name"] == "en_pipeline"
    assert description["labels"] == {"bigru_ner": ["LOC", "ORG", "PER"]}
    assert description["threshold"] == {"bigru_ner": 0.0}
    assert client.get("/healthz").json == {"status": "ok"}


def test_metrics_count_requests_texts_and_tokens(serve, ner):
    client = serve(ner)
    client.annotate("Ada wrote .", "Bob", "\ud800")
    client.post("{}")
    client.get("/no/such/path")
    text = client.get("/metrics").text
    assert text.count("# TYPE ") > 5
    values = dict(re.findall(r"^(bigru_\S+) (\S+)$", text, re.MULTILINE))
    assert values['bigru_tagger_requests_total{path="/annotate",status="200"}'] == "1.0"
    assert values['bigru_tagger_requests_total{path="/annotate",status="422"}'] == "1.0"
    assert values['bigru_tagger_requests_total{path="other",status="404"}'] == "1.0"
    assert values['bigru_tagger_request_seconds_count{path="/annotate"}'] == "2.0"
    assert values["bigru_tagger_tokens_total"] == "4.0"
    assert values["bigru_tagger_batch_texts_sum"] == "2.0"
    assert values["bigru_tagger_failed_texts_total"] == "1.0"
    assert values["bigru_tagger_requests_in_progress"] == "1.0"  # this one


def test_an_internal_error_is_500_and_counts_as_500(serve, ner, monkeypatch):
    client = serve(ner)
    monkeypatch.setattr("bigru_tagger.server.app._join", None)  # calling it is a TypeError
    reply = client.annotate("Ada")
    assert (reply.status, reply.json["error"]["message"]) == (500, "internal error")
    counted = 'bigru_tagger_requests_total{path="/annotate",status="500"} 1.0'
    assert counted in client.get("/metrics").text.splitlines()


def test_pages_load_nothing_from_other_hosts(client):
    for path in ("/", "/docs", "/assets/page.js", "/assets/page.css", "/assets/report.css"):
        reply = client.get(path)
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        addresses = set(re.findall(r"(?:https?:)?//[\w.:-]+", reply.text))
        assert addresses <= {f"http://127.0.0.1:{client.port}"}  # in the example for curl


def test_names_with_markup_are_escaped(serve):
    nlp = build("bigru_ner")
    nlp.meta["name"] = "<script>"
    client = serve(nlp)
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "en_<script>" not in page
        assert "en_&lt;script&gt;" in page


def test_the_page_about_requests_lists_each_field(client):
    page = client.get("/docs").text
    schema = client.get("/openapi.json").json
    assert set(schema["paths"]) == {"/annotate", "/model", "/healthz", "/metrics"}
    for field in schema["components"]["schemas"]["AnnotateRequest"]["properties"]:
        assert f"<code>{field}</code>" in page
