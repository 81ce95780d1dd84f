"use strict";
// Text from the server and from the user only becomes text nodes, never HTML.

const MAX_ROWS = 200; // of tokens or sentences on the page
const N_COLOURS = 8; // of labels in report.css; all further labels share a ninth colour
const find = (id) => document.getElementById(id);
const form = find("form");
const field = find("text");
const slider = find("threshold");
let running = new AbortController();
let record = null; // the annotation of the text
let points = []; // its code points, since the server counts these
const colours = new Map();

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

const cut = (start, end) => points.slice(start, end).join("");
// Rounded down above 99%, since 100% would be certain, and 0% would be impossible.
function percent(score) {
  if (score < 0.01) return "<1%";
  return `${score > 0.99 ? Math.floor(1000 * score) / 10 : Math.round(100 * score)}%`;
}

function colour(label) {
  if (!colours.has(label)) colours.set(label, Math.min(colours.size, N_COLOURS));
  return `c${colours.get(label)}`;
}

const identity = (span) => `${span.start} ${span.end} ${span.label}`;

function mark(text, span) {
  const score = span.score == null ? "" : ` ${percent(span.score)}`;
  const made = element("mark", { class: colour(span.label), dir: "auto", "data-span": identity(span) }, text, element("i", {}, span.label + score));
  if (span.score != null) made.style.setProperty("--score", span.score);
  return made;
}

// Text from start to end with marks; spans that overlap an earlier one are left out, and counted.
function marked(spans, start, end) {
  const pieces = [];
  let left = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (span.start < start) {
      left += 1;
      continue;
    }
    pieces.push(cut(start, span.start), mark(cut(span.start, span.end), span));
    start = span.end;
  }
  pieces.push(cut(start, end));
  if (left) pieces.push(element("small", { class: "soft" }, ` ${left} more inside or across these: see the table`));
  return pieces;
}

function bar(score) {
  const meter = element("meter", { min: 0, max: 1, value: score, "aria-hidden": "true" });
  return element("span", { class: "score" }, meter, percent(score));
}

function spanTable(spans) {
  const header = ["Text", "Label", "Confidence"].map((name) => element("th", { scope: "col" }, name));
  const rows = spans.map((span) => element(
    "tr", {},
    element("td", { dir: "auto" }, cut(span.start, span.end)),
    element("td", {}, span.label),
    element("td", {}, span.score == null ? "not computed" : bar(span.score)),
  ));
  return element(
    "details", {}, element("summary", {}, "As a table"),
    element("table", { class: "spans" }, element("thead", {}, element("tr", {}, header)), element("tbody", {}, rows)),
  );
}

function layers() {
  const found = [];
  if (form.dataset.entities || record.ents.length) found.push(["Entities", record.ents]);
  found.push(...Object.entries(record.spans ?? {}));
  return found;
}

function showTags() {
  const tagged = record.tokens.filter((token) => token.tag);
  if (!tagged.length) return [];
  const words = tagged.map((token) => element(
    "li", {}, element("b", { dir: "auto" }, cut(token.start, token.end)), element("small", {}, token.tag),
  ));
  return [element("h2", {}, "Tags"), element("ul", { class: "tags" }, words)];
}

function showLayers() {
  const threshold = slider ? slider.value / 100 : 0;
  let kept = 0;
  let total = 0;
  const blocks = [];
  for (const [name, all] of layers()) {
    const spans = all.filter((span) => span.score == null || span.score >= threshold);
    kept += spans.length;
    total += all.length;
    blocks.push(
      element("h2", {}, name),
      element("p", { class: "marked", dir: "auto" }, marked(spans, 0, points.length)),
      spans.length ? spanTable(spans) : element("p", { class: "soft" }, `No ${name.toLowerCase()}.`),
    );
  }
  const open = [...find("layers").querySelectorAll("details")].map((details) => details.open);
  find("layers").replaceChildren(...blocks, ...showTags());
  find("layers").querySelectorAll("details").forEach((details, i) => { details.open = open[i] ?? false; });
  if (slider) {
    find("shown").value = `${slider.value}%`;
    find("count").textContent = `${kept} of ${total} shown`;
  }
}

function showAlternatives() {
  const place = find("alternatives")?.querySelector("div");
  if (!place) return undefined;
  if (!record.hypotheses) return place.replaceChildren(`Only for texts of up to ${form.dataset.detailed} characters.`);
  const blocks = [];
  for (const [name, sentences] of Object.entries(record.hypotheses)) {
    if (Object.keys(record.hypotheses).length > 1) blocks.push(element("h3", {}, name));
    for (const hypotheses of sentences.slice(0, MAX_ROWS)) {
      const best = new Set((hypotheses[0]?.spans ?? []).map(identity));
      const items = hypotheses.map((hypothesis, i) => {
        const text = element("p", { class: "marked", dir: "auto" }, marked(hypothesis.spans, hypothesis.start, hypothesis.end));
        // Only the differences from the first hypothesis stand out.
        const shown = [...text.querySelectorAll("mark")];
        for (const made of shown) made.classList.toggle("same", i > 0 && best.has(made.dataset.span));
        return element("li", {}, bar(hypothesis.probability), text);
      });
      blocks.push(element("ol", { class: "hypotheses" }, items));
    }
    if (sentences.length > MAX_ROWS) blocks.push(element("p", { class: "soft" }, `The first ${MAX_ROWS} sentences.`));
  }
  return place.replaceChildren(...blocks);
}

// The tables that the gates can be shown as: a name, the columns, and whether values are gates.
function gateTables(gates) {
  const tables = [];
  for (const layer of new Set(gates.layers.map((part) => part.layer))) {
    const columns = gates.layers.filter((part) => part.layer === layer).flatMap((part) => {
      const [arrow, word] = part.direction === "forward" ? ["→", "forward"] : ["←", "backward"];
      return [[`z ${arrow}`, `update gate, ${word}`, part.update], [`r ${arrow}`, `reset gate, ${word}`, part.reset]];
    });
    tables.push([`Layer ${layer + 1}`, columns, true]);
  }
  const shares = Object.entries(gates.shares).map(([name, values]) => [name, `${name}: summand of the tag's logit`, values]);
  if (shares.length) tables.push(["Logit of the predicted tag", shares, false]);
  return tables;
}

function gateTable(gates, [name, columns, isGate]) {
  const header = columns.map(([short, long]) => element("th", { scope: "col" }, element("abbr", { title: long }, short)));
  const rows = gates.tokens.slice(0, MAX_ROWS).map((token, i) => element(
    "tr", {},
    element("th", { scope: "row", dir: "auto" }, token, " ", element("small", {}, gates.tags[i] ?? "")),
    columns.map(([, , values]) => {
      const cell = element("td", {}, values[i].toFixed(isGate ? 2 : 1));
      if (isGate) cell.style.setProperty("--share", values[i]);
      return cell;
    }),
  ));
  return element(
    "table", { class: isGate ? "heat gates" : "gates" },
    element("caption", {}, isGate
      ? `${name}: means over all units. z: share of the earlier state that is kept. r: share of it that the new candidate uses. → forward, ← backward.`
      : `${name}: the parts that add up to it.`),
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Token"), header)),
    element("tbody", {}, rows),
  );
}

function showGates(gates) {
  const place = find("gates").querySelector("div");
  if (!gates) return place.replaceChildren("The text has no tokens.");
  const tables = gateTables(gates);
  const table = element("div", {});
  const select = element("select", { id: "part" }, tables.map(([name], i) => element("option", { value: i }, name)));
  const show = () => table.replaceChildren(gateTable(gates, tables[select.value]));
  select.addEventListener("change", show);
  place.replaceChildren(element("p", {}, element("label", { for: "part" }, "Part "), select), table);
  if (gates.tokens.length > MAX_ROWS) place.append(element("p", { class: "soft" }, `The first ${MAX_ROWS} tokens.`));
  return show();
}

async function post(text, options) {
  const response = await fetch("annotate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ texts: [text], ...options }),
    signal: running.signal,
  }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("the server cannot be reached");
  });
  // A full server and proxies answer without JSON.
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  if (!isJson) throw new Error(`the server answered with status ${response.status} ${response.statusText}`);
  const answer = await response.json();
  if (answer.error) throw new Error(`${answer.error.message}: ${answer.error.remedy}`);
  if (answer.errors.length) throw new Error(answer.errors[0].message);
  return answer.docs[0];
}

// Runs a request and shows its error, if any. A later request cancels it.
async function attempt(request) {
  find("error").textContent = "";
  form.setAttribute("aria-busy", "true");
  try {
    await request();
    form.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError") return;
    form.removeAttribute("aria-busy");
    find("error").textContent = `Error: ${error.message}.`;
  }
}

// The gates of the text that is shown, not of what was typed since.
const loadGates = () => attempt(async () => {
  const shown = record;
  const { gates } = await post(shown.text, { gates: true });
  if (shown === record) showGates(gates);
});

function annotate() {
  running.abort();
  running = new AbortController();
  return attempt(async () => {
    const options = {};
    if (slider) options.threshold = 0;
    const isShort = Array.from(field.value).length <= Number(form.dataset.detailed);
    if (form.dataset.nBest && isShort) options.n_best = Number(form.dataset.nBest);
    record = await post(field.value, options);
    points = Array.from(record.text);
    showLayers();
    showAlternatives();
    find("results").hidden = false;
    const gates = find("gates");
    gates?.querySelector("div").replaceChildren();
    if (gates?.open) await loadGates();
  });
}

form.addEventListener("submit", (event) => { event.preventDefault(); annotate(); });
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) annotate();
});
slider?.addEventListener("input", showLayers);
find("gates")?.addEventListener("toggle", () => {
  if (find("gates").open && !find("gates").querySelector("table")) loadGates();
});
annotate();
