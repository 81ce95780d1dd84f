// Filters the list of errors. Without this script, all errors are shown.
"use strict";
// Ignores case and white space: not all languages separate tokens by spaces.
const plain = (text) => text.toLowerCase().replace(/\s+/g, "");
for (const list of document.querySelectorAll(".errors")) {
  const form = list.querySelector("form");
  const groups = [...list.querySelectorAll("details")];
  const errors = new Map(groups.map((group) => [group, [...group.querySelectorAll("li")]]));
  const texts = new Map();
  const [type, kind, confidence, find] = ["type", "kind", "confidence", "find"].map(
    (name) => form.elements.namedItem(name));

  const textOf = (error) => {
    if (!texts.has(error)) texts.set(error, plain(error.textContent));
    return texts.get(error);
  };
  const inRange = (error) => {
    if (!confidence || confidence.value === "") return true;
    if (confidence.value === "none") return !error.dataset.p;
    const [low, high] = confidence.value.split(" ").map(Number);
    return error.dataset.p && error.dataset.p >= low && error.dataset.p < high;
  };
  const update = () => {
    const query = plain(find.value);
    const filtered = query || type.value || kind.value || confidence?.value;
    let shown = 0, all = 0;
    for (const [group, own] of errors) {
      const fits = (!type.value || group.dataset.types.split(" ").includes(type.value)) &&
        (!kind.value || group.dataset.kind === kind.value);
      let here = 0;
      for (const error of own) {
        error.hidden = !(fits && inRange(error) && (!query || textOf(error).includes(query)));
        here += !error.hidden;
      }
      group.hidden = !here;
      if (filtered && here) group.open = true;
      shown += here;
      all += own.length;
    }
    form.querySelector("output").textContent = `${shown} of ${all}`;
  };
  let timer;
  form.hidden = false;
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(update, 120); });
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  const fold = form.querySelector(".fold");
  fold.addEventListener("click", () => {
    const open = fold.textContent === "open all";
    for (const group of groups) group.open = open;
    fold.textContent = open ? "close all" : "open all";
  });
  for (const group of groups.slice(2)) group.open = false;
  for (const link of document.querySelectorAll(`a[data-find][href="#${list.dataset.section}"]`)) {
    link.addEventListener("click", () => { form.reset(); find.value = link.dataset.find; update(); });
  }
  update();
}
