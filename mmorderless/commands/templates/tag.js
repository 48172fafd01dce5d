const find = (query) => element.querySelector(query);
const undecided = () => [...element.querySelectorAll(".row:not(.confirmed)")];
let place = 0;  // of the chosen label among the undecided ones
let focused = "";

function look(row) {
  const map = find("figure .map");
  if (!map) return;
  map.hidden = !row?.dataset.map;
  if (!map.hidden) map.src = row.dataset.map;
}

function choose(row) {
  find(".row[aria-current]")?.removeAttribute("aria-current");
  row?.setAttribute("aria-current", "true");
  row?.scrollIntoView({ block: "nearest" });
  place = Math.max(undecided().indexOf(row), 0);
}

function act(action, label = "") {
  const at = document.activeElement;
  focused = !element.contains(at) ? "" : at.dataset.act ? `[data-act="${at.dataset.act}"]` : at.tagName;
  if (["next", "skip", "previous"].includes(action)) place = 0;
  trigger("act", { action, label, image: Number(find(".tagging").dataset.image) });
}

function shown() {
  const rows = undecided();
  choose(rows[Math.min(place, rows.length - 1)]);
  if (focused) (find(`.row[aria-current] ${focused}`) ?? find(focused))?.focus({ preventScroll: true });
}

element.addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-act]");
  const row = target.closest(".row");
  if (row) choose(row);
  if (button) act(button.dataset.act, button.closest("[data-label]")?.dataset.label);
  else if (row) look(row);
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = event.target.querySelector("input").value.trim();
  if (name) act("confirm", name);
});
element.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType === "mouse") look(target.closest(".row"));
});
element.addEventListener("pointerleave", () => look(null));

const KEYS = { c: "confirm", x: "reject", n: "next", s: "skip", p: "previous" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { type } = event.target;
  // A slider and a checkbox keep the focus after a click.
  if (event.target.closest("input, textarea, select") && !["range", "checkbox"].includes(type)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const rows = [...element.querySelectorAll(".row")];
  const current = find(".row[aria-current]");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && rows.length && type !== "range") {
    choose(rows[(rows.indexOf(current) + step + rows.length) % rows.length]);
    look(find(".row[aria-current]"));
  } else if (event.key === "a") find("form input")?.focus();
  else if (["c", "x"].includes(event.key)) {
    if (current) act(KEYS[event.key], current.dataset.label);
  } else if (event.key in KEYS) act(KEYS[event.key]);
  else return;
  event.preventDefault();
});
watch("value", shown);
shown();
