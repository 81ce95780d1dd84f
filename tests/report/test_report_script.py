"""The script of the page, in a real browser; skipped if there is none."""

import html
import json
import re
import shutil
import subprocess

import pytest
from oracle import evaluate_sentences

from bigru_tagger.report.analysis import analyse
from bigru_tagger.report.evaluation_sections import make_report
from bigru_tagger.report.render import render_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")

# Kew has the wrong type twice. The other errors are of different kinds.
SENTENCES = [
    ("Oslo and Kew", [(0, 1, "LOC"), (2, 3, "LOC")], [(0, 1, "LOC", 0.9), (2, 3, "PER", 0.8)]),
    ("Kew fell", [(0, 1, "LOC")], [(0, 1, "PER", 0.96)]),
    ("Eve Smith met Bob", [(0, 2, "PER"), (3, 4, "PER")], [(0, 1, "PER", 0.6), (3, 4, "PER", 1)]),
    ("New York City", [(0, 3, "LOC")], [(0, 2, "ORG", 0.5)]),
    ("Rain in Lima", [(2, 3, "LOC")], [(0, 1, "ORG")]),
]
# Acts like a user, and returns what is visible after each step: the count and the errors.
DRIVER = """
<script>
const seen = () => ({
  count: document.querySelector("output").textContent,
  errors: [...document.querySelectorAll(".errors li")].filter((error) => error.checkVisibility())
    .map((error) => `${error.closest("details").dataset.kind}: ` +
      error.querySelector("small").textContent.split(",")[0]),
});
const form = document.querySelector("form.filter");
const steps = %s;
const answers = [seen()];
const next = () => {
  const step = steps.shift();
  if (!step) {
    const answer = document.createElement("pre");
    answer.id = "answers";
    answer.textContent = JSON.stringify(answers);
    return document.body.append(answer);
  }
  if (step.click) document.querySelector(step.click).click();
  for (const [name, value] of Object.entries(step.set ?? {})) {
    form.elements.namedItem(name).value = value;
    form.elements.namedItem(name).dispatchEvent(new Event("input", { bubbles: true }));
  }
  setTimeout(() => { answers.push(seen()); next(); }, 500);
};
next();
</script>
</body>
"""
STEPS = {
    "type": {"set": {"type": "0"}},
    "type and kind": {"set": {"kind": "missing"}},
    "cleared": {"click": "button[type=reset]"},
    "kind": {"set": {"kind": "spurious"}},
    "cleared again": {"click": "button[type=reset]"},
    "range": {"set": {"confidence": "0.5 0.8"}},
    "highest": {"set": {"confidence": "0.95 2"}},
    "unknown": {"set": {"confidence": "none"}},
    "text": {"set": {"confidence": "", "find": "new  YORK"}},
    "no text": {"set": {"find": "Vienna"}},
    "link": {"click": "a[data-find=Kew]"},
    "cleared at last": {"click": "button[type=reset]"},
    "open all": {"click": ".fold"},
    "close all": {"click": ".fold"},
}
KEW = ["wrong type: Doc 2", "wrong type: Doc 1"]  # the most probable first
EVE = "wrong boundaries: Doc 3"
YORK = "wrong type and boundaries: Doc 4"
LIMA, RAIN = "missing: Doc 5", "spurious: Doc 5"


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return what is visible after each step, by its name; "first" before any step."""
    evaluation = evaluate_sentences(*SENTENCES)
    analysis = analyse(evaluation, confidence=["confidence"])
    assert analysis.types == ["LOC", "PER", "ORG"]  # their positions are the values of the filter
    page = render_page(make_report(evaluation, [analysis], {"command": "c"}, plots=False))
    place = tmp_path_factory.mktemp("page")
    path = place / "page.html"
    driver = DRIVER % json.dumps(list(STEPS.values()))
    path.write_text(page.replace("</body>\n", driver), encoding="utf8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={place}", "--virtual-time-budget=60000", "--dump-dom"]
    result = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    found = re.search(r'<pre id="answers">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found, result.stderr
    return dict(zip(["first", *STEPS], json.loads(html.unescape(found[1])), strict=True))


@pytest.mark.parametrize(
    ("step", "errors"),
    [
        ("type", [*KEW, YORK, LIMA]),
        ("type and kind", [LIMA]),
        ("kind", [RAIN]),
        # From 0.5 to below 0.8: New York and Eve, but not Kew with 0.8.
        ("range", [EVE, YORK]),
        ("highest", ["wrong type: Doc 2"]),
        ("unknown", [RAIN, LIMA]),
        ("text", [YORK]),
        ("no text", []),
        ("link", KEW),
    ],
)
def test_errors_are_filtered(answers, step, errors):
    assert answers[step] == {"count": f"{len(errors)} of 6", "errors": errors}


def test_groups_after_the_second_are_closed_at_first(answers):
    assert answers["first"] == {"count": "6 of 6", "errors": [*KEW, EVE]}


def test_clearing_shows_all_errors_again(answers):
    # Groups that a filter opened stay open.
    assert answers["cleared"] == {"count": "6 of 6", "errors": [*KEW, EVE, YORK, LIMA]}
    everything = {"count": "6 of 6", "errors": [*KEW, EVE, YORK, RAIN, LIMA]}
    assert answers["cleared again"] == everything
    assert answers["cleared at last"] == everything


def test_all_groups_open_and_close(answers):
    assert answers["open all"] == {"count": "6 of 6", "errors": [*KEW, EVE, YORK, RAIN, LIMA]}
    assert answers["close all"] == {"count": "6 of 6", "errors": []}
