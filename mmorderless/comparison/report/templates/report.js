"use strict";

/* ---- Tables: sorting, the operating point, values of each seed ---- */

function sortTable(header) {
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const now = header.getAttribute("aria-sort");
  const opposite = now === "ascending" ? "descending" : "ascending";
  const direction = now === "none" ? header.dataset.first : opposite;
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => {
    const cell = row.cells[column];
    return { row, text: cell.textContent.trim(), value: cell.dataset.value };
  });
  const byName = column === 0;
  rows.sort((a, b) => {
    if (byName) return sign * a.text.localeCompare(b.text);
    if (a.value === undefined || b.value === undefined)  // missing values come last
      return (a.value === undefined) - (b.value === undefined);
    return sign * (a.value - b.value);
  });
  body.append(...rows.map(({ row }) => row));
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction);
}

for (const button of document.querySelectorAll("thead.sorts button"))
  button.addEventListener("click", () => sortTable(button.closest("th")));

const point = document.getElementById("point");
function showPoint() {
  for (const panel of document.querySelectorAll("[data-point]"))
    panel.hidden = panel.dataset.point !== point.value;
}
if (point) {
  point.addEventListener("change", showPoint);
  showPoint();  // the browser may restore an earlier choice
}
const differences = document.getElementById("differences");
if (differences)
  differences.addEventListener("change", () =>
    document.getElementById("tables").classList.toggle("hide-differences", !differences.checked));

const tip = document.getElementById("tip");
function showTip(event) {
  const cell = event.target.closest ? event.target.closest("[data-seeds]") : null;
  tip.hidden = !cell;
  if (!cell) return;
  tip.textContent = cell.dataset.seeds;
  const box = cell.getBoundingClientRect();
  const left = Math.min(box.right - tip.offsetWidth, innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 4;
  tip.style.transform =
    `translate(${Math.max(8, left)}px, ${above > 4 ? above : box.bottom + 4}px)`;
}
document.addEventListener("pointerover", showTip);
document.addEventListener("click", showTip);
document.addEventListener("scroll", () => { tip.hidden = true; }, { capture: true, passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

/* ---- Figures: enlarge ---- */

const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom"))
  button.addEventListener("click", () => {
    const { src, alt } = button.querySelector("img");
    large.querySelector("img")?.remove();
    large.append(element("img", { src, alt }));  // at full resolution
    large.showModal();
  });
large.addEventListener("click", (event) => { if (event.target.tagName !== "IMG") large.close(); });

/* ---- Gallery ---- */

const data = JSON.parse(document.getElementById("data").textContent);
const cards = [...document.querySelectorAll(".photo")];
const method = document.getElementById("method");
const byClass = document.getElementById("class");
const kind = document.getElementById("kind");

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/* Sort a photo's labels by outcome; `data` holds class indices. */
function outcomes(photo) {
  const truth = new Set(data.truth[photo]);
  const { labels, missing } = data.methods[method.value].predictions[photo];
  return {
    truth,
    missing: new Set(missing),
    wrong: new Set(labels.filter((label) => !truth.has(label))),
    repeated: new Set(labels.filter((label, step) => labels.indexOf(label) !== step)),
  };
}

/* If a class is chosen, "missing", "wrong" and "repeated" refer to that label. */
function fits(photo, chosen, wanted) {
  const found = outcomes(photo);
  if (wanted === "right")
    return !found.missing.size && !found.wrong.size && (chosen === null || found.truth.has(chosen));
  const labels = wanted === "" ? found.truth : found[wanted];
  return chosen === null ? wanted === "" || labels.size > 0 : labels.has(chosen);
}

function drawMap(canvas, maps, step) {
  const [height, width, encoded] = maps;
  const levels = atob(encoded).slice(step * height * width, (step + 1) * height * width);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  // Darken the photo and add amber light where attention is high; also visible on dark photos.
  for (let i = 0; i < levels.length; i++) {
    const weight = levels.charCodeAt(i) / 255;
    image.data.set([255 * weight, 190 * weight, 70 * weight, 255 * (0.72 - 0.3 * weight)], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/* Show a label's attention map on hover or focus; a click or tap keeps it. */
function bindMap(button, card, maps, step) {
  const canvas = card.querySelector("canvas");
  const kept = () => card.querySelector("[aria-pressed=true]");
  const show = () => { drawMap(canvas, maps, step); canvas.hidden = false; };
  const hide = () => { canvas.hidden = true; if (kept()) kept().dispatchEvent(new Event("show")); };
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("show", show);
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, show);
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, hide);
  button.addEventListener("click", () => {
    const before = kept();
    if (before) before.setAttribute("aria-pressed", "false");
    if (before === button) return hide();
    button.setAttribute("aria-pressed", "true");
    show();
  });
}

const MARKS = { right: "✓", wrong: "✗", repeat: "↻", missing: "–" };

function labelLine(kindOfLabel, label, step, probability, hasMap) {
  const parts = [
    element("span", { className: "step" }, step === null ? "" : String(step + 1)),
    element("span", { className: "mark", ariaHidden: "true" }, MARKS[kindOfLabel]),
    element("span", { className: "name" },
      element("span", { className: "unseen" }, `${kindOfLabel}: `), data.classes[label]),
    element("span", { className: "probability" }, probability.toFixed(2)),
  ];
  const line = element(hasMap ? "button" : "span", { className: "label" }, ...parts);
  if (hasMap) line.type = "button";
  return line;
}

function fillCard(card, photo) {
  const { ordered, predictions } = data.methods[method.value];
  const { labels, missing, scores, maps } = predictions[photo];
  const truth = new Set(data.truth[photo]);
  const box = card.querySelector(".labels");
  const canvas = card.querySelector("canvas");
  if (canvas) canvas.hidden = true;
  const lines = labels.map((label, step) => {
    const repeated = labels.indexOf(label) !== step;
    const outcome = repeated ? "repeat" : truth.has(label) ? "right" : "wrong";
    const line = labelLine(outcome, label, ordered ? step : null, scores[label], canvas && maps);
    if (canvas && maps) bindMap(line, card, maps, step);
    return element("li", { className: outcome }, line);
  });
  const missed = missing.map((label) =>
    element("li", { className: "missing" }, labelLine("missing", label, null, scores[label], false)));
  box.classList.toggle("unordered", !ordered);
  box.replaceChildren(element(ordered ? "ol" : "ul", {}, ...lines), element("ul", {}, ...missed));
  if (!labels.length) box.prepend(element("p", { className: "none" }, "no label predicted"));
}

function sentence(number) {
  const name = byClass.value === "" ? null : `“${data.classes[byClass.value]}”`;
  const who = data.methods[method.value].title;
  const all = `${number} of ${cards.length} photos`;
  const asked = {
    "": name ? `have ${name}` : "",
    missing: `${who} misses ${name || "a label"}`,
    wrong: `${who} predicts ${name || "a label"} wrongly`,
    right: `${who} gets all labels right` + (name ? `, ${name} among them` : ""),
    repeated: `${who} repeats ${name || "a label"}`,
  }[kind.value];
  return asked === "" ? `${number} photos.` : kind.value === "" ? `${all} ${asked}.` : `${all}: ${asked}.`;
}

function applyFilter() {
  const chosen = byClass.value === "" ? null : Number(byClass.value);
  let number = 0;
  cards.forEach((card, photo) => {
    card.hidden = !fits(photo, chosen, kind.value);
    number += !card.hidden;
  });
  document.getElementById("shown").textContent = sentence(number);
  document.getElementById("reset").disabled = byClass.value === "" && kind.value === "";
}

/* Keep the filter in the address: #gallery?method=pla&class=dog&kind=wrong */
function writeAddress() {
  const asked = new URLSearchParams({ method: data.methods[method.value].name });
  if (byClass.value !== "") asked.set("class", data.classes[byClass.value]);
  if (kind.value !== "") asked.set("kind", kind.value);
  history.replaceState(null, "", `#gallery?${asked}`);
}

function readAddress() {
  const [anchor, query] = location.hash.split(/\?(.*)/s);
  if (anchor !== "#gallery" || !query) return false;
  const asked = new URLSearchParams(query);
  const found = data.methods.findIndex(({ name }) => name === asked.get("method"));
  if (found >= 0) method.value = found;
  byClass.value = "";
  const wanted = data.classes.indexOf(asked.get("class"));
  if ([...byClass.options].some(({ value }) => value === String(wanted))) byClass.value = wanted;
  kind.value = "";
  if ([...kind.options].some(({ value }) => value === asked.get("kind"))) kind.value = asked.get("kind");
  return true;
}

function followAddress() {
  const asked = readAddress();
  cards.forEach(fillCard);
  applyFilter();
  document.querySelector(".photos").hidden = false;  // only now, so that cards do not move as they fill
  if (asked) document.getElementById("gallery").scrollIntoView();
}

if (cards.length) {
  followAddress();
  for (const control of [method, byClass, kind])
    control.addEventListener("change", () => {
      if (control === method) cards.forEach(fillCard);
      applyFilter();
      writeAddress();
    });
  document.getElementById("reset").addEventListener("click", () => {
    byClass.value = kind.value = "";
    applyFilter();
    writeAddress();
    byClass.focus();
  });
  window.addEventListener("hashchange", followAddress);
}
