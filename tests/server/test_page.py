"""The page in a real browser, on a desktop's and a phone's width; skipped if there is none."""

import html
import json
import re
import shutil
import subprocess

import pytest
from clients import running
from fastapi import Response
from samples import NARROW, build, train
from spacy.language import Language
from spacy.tokens import Span

from bigru_tagger.server.app import make_app

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")

MARKUP = "<img src=x onerror=document.title='run'>"
TEXT = f"🙂 Bob met Eve near Royal Museum of Oslo {MARKUP} & Ada Lovelace"
# Acts like a user of the page, which is in a frame of a certain width. Returns what is visible.
DRIVER = """<!DOCTYPE html>
<iframe src="/" width="%d" height="800"></iframe>
<script>
const sleep = (time) => new Promise((done) => setTimeout(done, time));
const run = async () => {
  const page = document.querySelector("iframe").contentWindow;
  const find = (selector) => page.document.querySelector(selector);
  const all = (selector) => [...page.document.querySelectorAll(selector)];
  const visible = (selector) => all(selector).filter((e) => e.checkVisibility());
  const until = async (condition) => {
    for (let i = 0; i < 200 && !condition(); i++) await sleep(50);
    if (!condition()) throw new Error(`not reached: ${condition}`);
  };
  const wide = () => [page.document.documentElement, ...visible("body *")]
    .filter((e) => e.getBoundingClientRect().right > page.innerWidth + 1
      || e.scrollWidth > e.clientWidth + 1 && page.getComputedStyle(e).overflowX !== "visible")
    .map((e) => e.outerHTML.slice(0, 80));
  const found = { wide: {} };
  await until(() => find("#layers mark"));
  found.first = find("#layers .marked").textContent;
  find("#text").value = %s;
  find("#text").dispatchEvent(new page.KeyboardEvent("keydown", { key: "Enter", ctrlKey: true }));
  await until(() => find("#layers .marked").textContent.includes("Museum"));
  found.marks = [...find("#layers .marked").querySelectorAll("mark")].map((e) => e.firstChild.data);
  found.count = find("#count").textContent;
  const pieces = [...find("#layers .marked").childNodes];
  found.text = pieces.map((e) => e.firstChild?.data ?? e.data).join("");
  found.headings = all("#layers h2").map((e) => e.textContent);
  found.wide.entities = wide();
  found.overlap = all("#layers .marked")[2].querySelector("small").textContent;
  find("#text").value = "This was typed later.";
  for (const details of all("details")) details.open = true;
  await until(() => find("#gates table"));
  found.rows = visible("#layers tbody tr").map((e) => [0, 1].map((i) => e.cells[i].textContent));
  found.hypotheses = visible(".hypotheses").map((e) => e.querySelectorAll("li").length);
  found.odds = visible(".hypotheses .score").map((e) => e.textContent);
  found.gates = [...find("#gates tbody").rows].map((e) => e.cells[0].textContent);
  found.columns = [...find("#gates thead tr").cells].map((e) => e.textContent);
  found.wide.open = wide();
  find("#part").value = find("#part").lastChild.value;
  find("#part").dispatchEvent(new page.Event("change"));
  found.parts = [...find("#gates thead tr").cells].map((e) => e.textContent);
  found.wide.parts = wide();
  find("#threshold").value = 100;
  find("#threshold").dispatchEvent(new page.Event("input"));
  found.none = find("#count").textContent;
  found.left = all("#layers mark").length;
  find("#text").value = "من Bob إلى";
  find("button").click();
  await until(() => find("#layers .marked").textContent.includes("من"));
  find("#threshold").value = 0;
  find("#threshold").dispatchEvent(new page.Event("input"));
  const [line, label] = ["#layers .marked", "#layers mark i"].map(find);
  const gap = page.getComputedStyle(label);
  found.directions = [line, label].map((e) => page.getComputedStyle(e).direction);
  found.gaps = [gap.marginLeft, gap.marginRight].map((width) => width !== "0px");
  find("#text").value = "Oslo ".repeat(4001);
  find("button").click();
  await until(() => find("#layers .marked").textContent.length > 20000);
  found.long = find("#alternatives div").textContent;
  find("#text").value = "\\ud800";
  find("button").click();
  await until(() => find("#error").textContent);
  found.error = find("#error").textContent;
  find("#text").value = "x".repeat(300000);
  find("button").click();
  await until(() => find("#error").textContent.includes("larger"));
  const bad = new page.Response("<html>", { status: 502, statusText: "Bad" });
  page.fetch = () => Promise.resolve(bad);
  find("button").click();
  await until(() => find("#error").textContent.includes("status"));
  found.proxy = find("#error").textContent;
  page.fetch = () => Promise.reject(new page.TypeError("Failed to fetch"));
  find("button").click();
  await until(() => find("#error").textContent.includes("cannot be reached"));
  found.unnamed = visible("input, textarea, select, button")
    .filter((e) => !(e.labels?.length || e.textContent.trim())).length;
  found.title = page.document.title;
  const loaded = page.performance.getEntriesByType("resource");
  found.hosts = [...new Set(loaded.map((e) => new URL(e.name).host))];
  found.host = page.location.host;
  return found;
};
addEventListener("load", async () => {
  const answer = document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify(await run().catch((error) => ({ failed: String(error) })));
  document.body.append(answer);
});
</script>
"""


def add_nested(doc):
    bounds = [(5, 9), (6, 7), (8, 9)] if "Museum" in doc.text else []
    doc.spans["nested"] = [Span(doc, start, end, "A") for start, end in bounds]
    return doc


@pytest.fixture(scope="module")
def server():
    nlp = build("bigru_ner", "bigru_chunker", "bigru_tagger", model=NARROW)
    train(nlp)
    Language.component("test_nested", func=add_nested)
    nlp.add_pipe("test_nested")
    app = make_app(nlp)

    @app.get("/driver/{width}")
    async def driver(width: int) -> Response:
        return Response(DRIVER % (width, json.dumps(TEXT)), media_type="text/html")

    with running(app) as client:
        yield client


@pytest.fixture(scope="module", params=[1280, 390])
def page(request, server, tmp_path_factory):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path_factory.mktemp('browser')}", "--window-size=1400,900"]
    command += ["--virtual-time-budget=60000", "--dump-dom"]
    url = f"http://127.0.0.1:{server.port}/driver/{request.param}"
    result = subprocess.run(
        [*command, url], capture_output=True, text=True, check=True, timeout=120
    )
    found = re.search(r'<pre id="answer">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found, result.stderr
    answer = json.loads(html.unescape(found[1]))
    assert "failed" not in answer, answer
    return answer


def test_the_page_shows_an_example_at_first(page):
    assert "Ada Lovelace" in page["first"]


def test_entities_are_marked_in_the_text(page):
    # Offsets count code points, and the smiley has two UTF-16 units.
    assert page["text"] == TEXT
    assert page["marks"][:3] == ["Bob", "Eve", "Royal Museum of Oslo"]
    assert page["marks"][-1] == "Ada Lovelace"
    assert page["rows"][:3] == [["Bob", "PER"], ["Eve", "PER"], ["Royal Museum of Oslo", "ORG"]]
    assert page["headings"] == ["Entities", "chunks", "nested", "Tags"]


def test_nested_spans_are_counted_and_listed_in_the_table(page):
    assert page["overlap"] == " 2 more inside or across these: see the table"
    nested = [text for text, label in page["rows"] if label == "A"]
    assert nested == ["Royal Museum of Oslo", "Museum", "Oslo"]


def test_the_label_of_a_mark_follows_the_direction_of_its_text(page):
    # A line from right to left with a name from left to right, whose label is on its right.
    assert page["directions"] == ["rtl", "ltr"]
    assert page["gaps"] == [True, False]


def test_markup_in_a_text_is_text(page):
    assert page["title"].startswith("en_pipeline")


def test_the_slider_hides_spans_below_the_threshold(page):
    total = page["count"].split(" of ")[1]
    assert page["count"] == f"{total.split()[0]} of {total}"
    # Spans without a probability stay: three that are nested, in one mark.
    assert page["none"] == f"3 of {total}"
    assert page["left"] == 1


def test_alternatives_and_gates(page):
    assert page["hypotheses"] == [5, 5]  # for entities and chunks
    assert page["gates"][1] == "Bob U-PER"  # of the text that is shown, not what was typed since
    assert page["columns"] == ["Token", "z →", "r →", "z ←", "r ←"]
    assert page["parts"] == ["Token", "forward", "backward", "bias"]


def test_probabilities_are_never_0_percent(page):
    assert "<1%" in page["odds"]
    assert "0%" not in page["odds"]


def test_long_texts_have_no_alternatives(page):
    assert page["long"] == "Only for texts of up to 20000 characters."


def test_errors_are_shown(page):
    assert page["error"].startswith("Error: UnicodeEncodeError")
    assert page["proxy"] == "Error: the server answered with status 502 Bad."


def test_nothing_is_cut_or_needs_a_horizontal_scroll(page):
    assert page["wide"] == {"entities": [], "open": [], "parts": []}


def test_controls_have_names(page):
    assert page["unnamed"] == 0


def test_no_other_host_is_asked(page):
    assert page["hosts"] == [page["host"]]
