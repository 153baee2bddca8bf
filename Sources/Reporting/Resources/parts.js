// What the sections of a report are made of. Texts of a run go into text nodes only: none is read as HTML.

/** An element: its attributes, then its children, which are elements or texts; null is left out. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
  return element;
}

const known = value => typeof value === "number" && Number.isFinite(value);
const percent = (share, digits = 2) => known(share) ? (share * 100).toFixed(digits) + " %" : "–";
/** In four digits that count: 0.4312, 12.31, 1.2e-5. */
function short(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}
function bytes(count) {
  if (!known(count)) return "–";
  if (count < 1024) return count + " B";
  const power = Math.min(4, Math.floor(Math.log2(count) / 10));
  return (count / 1024 ** power).toFixed(1) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][power];
}
/** 42.3 s, 14 min 2 s, 3 h 5 min. */
function time(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 1) return (seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0) + " ms";
  if (seconds < 60) return seconds.toFixed(1) + " s";
  const whole = Math.round(seconds);
  return whole < 3600 ? Math.floor(whole / 60) + " min " + whole % 60 + " s"
    : Math.floor(whole / 3600) + " h " + Math.round(whole % 3600 / 60) + " min";
}

/** The names of numbers as people say them. */
const titles = { top5: "top-5 accuracy", meanIoU: "mean IoU", pixelAccuracy: "pixel accuracy", boundaryF: "boundary F" };
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
const titleOf = name => titles[name] || name.replaceAll("_", " ");

/** A name that may be broken where its parts end. */
const breakable = name => String(name).split(/(?<=[_.@\/:])/).flatMap(part => [part, make("wbr")]);

/** A color of the style sheet for the series of this number. */
const seriesColor = number => "var(--c" + (number % 8 + 1) + ")";

/** A table in a box that scrolls by itself.
 *
 * columns: { title, number: whether it is aligned right, sort: the value of a row to sort by, cell: its content }.
 * Where a column has `sort`, its head is a button. */
function table(columns, rows, { label, wide = true, open = false } = {}) {
  const body = make("tbody");
  const heads = columns.map(column => make("th",
    { scope: "col", class: column.number ? "number" : column.class }, column.title));
  let current = rows;
  function fill() {
    body.replaceChildren(...current.map(row => make("tr", null, columns.map(
      column => make("td", { class: column.number ? "number" : column.class }, column.cell(row))))));
  }
  columns.forEach((column, number) => {
    if (!column.sort) return;
    const button = make("button", { type: "button" }, column.title);
    heads[number].replaceChildren(button);
    button.onclick = () => {
      const down = heads[number].getAttribute("aria-sort") !== "descending";
      heads.forEach(head => head.removeAttribute("aria-sort"));
      heads[number].setAttribute("aria-sort", down ? "descending" : "ascending");
      // What is not known comes last, whatever the order.
      const value = row => column.sort(row);
      const missing = entry => entry === null || entry === undefined || Number.isNaN(entry);
      current = [...rows].sort((a, b) => {
        const [first, second] = [value(a), value(b)];
        if (missing(first) || missing(second)) return missing(first) - missing(second);
        const order = first < second ? -1 : first > second ? 1 : 0;
        return down ? -order : order;
      });
      fill();
    };
  });
  fill();
  return make("div", { class: open ? "scroll open" : "scroll", tabindex: 0, role: "region", "aria-label": label },
    make("table", { class: wide && "wide" }, make("thead", null, make("tr", null, heads)), body));
}

/** A cell's bar: the share of the whole, 0...1. */
const bar = (share, color) => make("span",
  { class: "bar", style: "width:" + (Math.max(0, Math.min(1, share || 0)) * 100).toFixed(1) + "%"
    + (color ? ";background:" + color : "") });

/** Parts of a whole side by side, and below them what each is. `whole`: what the full width stands for. */
function stack(parts, whole, format, label) {
  const shown = parts.filter(part => part.value > 0);
  return {
    bar: make("div", { class: "stack", role: "img", "aria-label":
      label + ": " + shown.map(part => part.name + " " + format(part.value)).join(", ") },
    shown.map(part => make("span", { title: part.name + ": " + format(part.value),
      style: "width:" + (100 * part.value / whole).toFixed(3) + "%;background:" + part.color }))),
    keys: make("div", { class: "keys" }, shown.map(part => make("span", null,
      make("span", { class: "key", style: "background:" + part.color }), part.name + " " + format(part.value)
        + (part.note ? " (" + part.note + ")" : "")))),
  };
}
