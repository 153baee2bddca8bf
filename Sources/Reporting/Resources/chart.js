// Curves over a common axis, as SVG that is drawn anew at every width, so that texts keep their size.

/** 1, 2 or 5 times a power of ten, so that at most `most` of them make the whole. */
function roundStep(whole, most) {
  if (!(whole > 0)) return 1;
  const rough = whole / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find(factor => factor * power >= rough * (1 - 1e-9));
}

/** The multiples of a step in a range. */
function ticks(least, most, step) {
  const first = Math.ceil(least / step - 1e-9), last = Math.floor(most / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => (first + index) * step);
}

/** A tick's text: no more digits than its step has. */
function tickText(value, step) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4)
    return value.toExponential(Math.max(0, Math.floor(Math.log10(size)) - Math.floor(Math.log10(step) + 1e-9)))
      .replace("e+", "e");
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

/** The namespace of SVG's elements, which the parser knows. */
const svgSpace = Object.assign(document.createElement("template"), { innerHTML: "<svg></svg>" })
  .content.firstChild.namespaceURI;

/** A figure with curves.
 *
 * x: ascending numbers; series: { name, values (null: none there), color, dashed };
 * format: of a value; percent: whether values are shares; zero: whether 0 is in the range;
 * mark: { at, text }: a place on the axis that is marked.
 * Under the pointer, and by the arrow keys, the values at one place are said in the key. */
function lineChart({ title, x, xName, series, format = short, percents = false, zero = false, mark = null }) {
  series = series.filter(one => one.values.some(known));
  const keys = make("div", { class: "keys", "aria-hidden": "true" });
  const place = make("span", { class: "place", "aria-hidden": "true" }), cells = series.map(() => make("b"));
  keys.append(...series.map((one, number) => make("span", { title: one.name },
    make("span", { class: one.dashed ? "key stroke dashed" : "key stroke", style: "border-color:" + one.color }),
    one.name + " ", cells[number])));
  const svg = document.createElementNS(svgSpace, "svg");
  const figure = make("figure", null, make("figcaption", null, title, place), keys, svg);
  const height = 252, top = 8, bottom = 40;
  let at = null, width = 0, left = 0, geometry = null;

  const all = series.flatMap(one => one.values.filter(known));
  if (!all.length) {
    figure.replaceChildren(make("figcaption", null, title), make("p", { class: "quiet" }, "No values."));
    return figure;
  }
  let [least, most] = [Math.min(...all), Math.max(...all)];
  if (zero) least = Math.min(0, least);
  // A first value far above all others would press them to the floor: the range ends at what nearly all stay below.
  const sorted = [...all].sort((a, b) => a - b), high = sorted[Math.floor(0.97 * (sorted.length - 1))];
  const isCut = all.length >= 6 && most - least > 4 * (high - least) && high > least;
  if (isCut) most = least + 1.15 * (high - least);
  if (most === least) { const room = Math.abs(most) * 0.1 || 1; most += room; least -= zero ? 0 : room; }
  const room = 0.04 * (most - least);
  const range = [zero && least === 0 ? 0 : least - room, most + room];
  if (percents) { range[0] = Math.max(0, range[0]); range[1] = Math.min(1, range[1]); }

  function element(tag, attributes, text) {
    const made = document.createElementNS(svgSpace, tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  const first = x[0], last = x[x.length - 1];
  const X = value => last === first ? (left + width - 12) / 2
    : left + (value - first) / (last - first) * (width - left - 12);
  const Y = value => height - bottom - (value - range[0]) / (range[1] - range[0]) * (height - bottom - top);

  /** Where a text of this size has its width. */
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "12px sans-serif";
  const wide = text => pen.measureText(text).width;

  function draw() {
    const now = Math.round(svg.getBoundingClientRect().width);
    if (!now) return;
    width = now;
    const step = roundStep(range[1] - range[0], 5);
    const scale = percents ? 100 : 1;
    const labels = ticks(range[0], range[1], step).map(
      value => [value, tickText(value * scale, step * scale) + (percents ? " %" : "")]);
    left = Math.ceil(Math.max(...labels.map(label => wide(label[1])), 10)) + 10;
    const widest = Math.max(wide(tickText(last, 1)), wide(tickText(first, 1))) + 22;
    const xStep = Math.max(1, roundStep(last - first, Math.max(1, Math.floor((width - left) / widest))));
    const id = "clip" + lineChart.count++;
    const clip = element("clipPath", { id });
    clip.append(element("rect", { x: left - 4, y: 0, width: width - left + 4, height: height - bottom + 3 }));
    const group = element("g", { "clip-path": "url(#" + id + ")" });
    const parts = [clip];
    for (const [value, text] of labels) parts.push(
      element("line", { class: "grid", x1: left, x2: width, y1: Y(value), y2: Y(value) }),
      element("text", { x: left - 6, y: Y(value) + 4, "text-anchor": "end" }, text));
    parts.push(element("line", { class: "axis", x1: left, x2: width, y1: height - bottom, y2: height - bottom }));
    let free = -Infinity;
    for (const value of ticks(first, last, xStep)) {
      const text = tickText(value, xStep), half = wide(text) / 2;
      parts.push(element("line", { class: "axis", x1: X(value), x2: X(value), y1: height - bottom, y2: height - bottom + 4 }));
      const middle = Math.min(X(value), width - half);
      if (middle - half < free) continue;
      parts.push(element("text", { x: middle, y: height - bottom + 17, "text-anchor": "middle" }, text));
      free = middle + half + 8;
    }
    parts.push(element("text", { x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, xName));
    series.forEach(one => {
      let path = "", isDown = false;
      one.values.forEach((value, index) => {
        if (!known(value)) { isDown = false; return; }
        // Far beyond the frame is as good as infinity, and what viewers can draw.
        const y = Math.max(-1e4, Math.min(1e4, Y(value)));
        path += (isDown ? "L" : "M") + X(x[index]).toFixed(1) + " " + y.toFixed(1);
        isDown = true;
      });
      group.append(element("path", { class: "curve", d: path, style: "stroke:" + one.color
        + (one.dashed ? ";stroke-dasharray:6 4" : "") }));
      if (one.values.filter(known).length <= 40) one.values.forEach((value, index) => {
        if (known(value)) group.append(element("circle", { class: "dot", cx: X(x[index]), cy: Y(value), r: 3.5,
          style: "fill:" + one.color }));
      });
    });
    parts.push(group);
    if (mark && mark.at >= first && mark.at <= last) {
      const isLeft = X(mark.at) + wide(mark.text) + 8 > width;
      // Where the curves are not.
      const here = series.map(one => one.values[x.indexOf(mark.at)]).filter(known).map(Y);
      const isHigh = here.reduce((sum, y) => sum + y, 0) / (here.length || 1) > (height - bottom) / 2;
      parts.push(element("line", { class: "cross", x1: X(mark.at), x2: X(mark.at), y1: top, y2: height - bottom }),
        element("text", { x: X(mark.at) + (isLeft ? -5 : 5), y: isHigh ? top + 10 : height - bottom - 6, "text-anchor": isLeft ? "end" : "start" },
          mark.text));
    }
    const cross = element("g", {});
    parts.push(cross);
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    svg.setAttribute("height", height);
    svg.replaceChildren(...parts);
    geometry = { cross };
    show();
  }

  function valueText(one, index) { return known(one.values[index]) ? format(one.values[index]) : "–"; }

  const placeText = index => Number.isInteger(x[index]) ? String(x[index]) : short(x[index]);
  // Whether some curves end before others.
  const isRagged = series.some(one => !known(one.values[x.length - 1]));

  function show() {
    const index = at === null ? x.length - 1 : at;
    // Where no place is chosen: the last value of each.
    series.forEach((one, number) => { cells[number].textContent = at === null
      ? format(one.values.findLast(known)) : valueText(one, index); });
    place.textContent = at === null && isRagged ? "last " + xName + " of each" : xName + " " + placeText(index);
    svg.setAttribute("aria-valuenow", index);
    svg.setAttribute("aria-valuetext", xName + " " + placeText(index) + ": "
      + series.map(one => one.name + " " + valueText(one, index)).join(", "));
    if (!geometry) return;
    geometry.cross.replaceChildren();
    if (at === null) return;
    geometry.cross.append(element("line", { class: "cross", x1: X(x[at]), x2: X(x[at]), y1: top, y2: height - bottom }));
    for (const one of series) if (known(one.values[at]) && Y(one.values[at]) >= 0)
      geometry.cross.append(element("circle", { class: "dot", cx: X(x[at]), cy: Y(one.values[at]), r: 5,
        style: "fill:" + one.color }));
  }

  for (const [name, value] of Object.entries({ class: "chart", height, tabindex: 0, role: "slider", "aria-label":
    title + ", values by the arrow keys", "aria-valuemin": 0, "aria-valuemax": x.length - 1 }))
    svg.setAttribute(name, value);
  svg.addEventListener("pointermove", event => {
    const value = first + (event.clientX - svg.getBoundingClientRect().left - left) / (width - left - 12) * (last - first);
    at = x.reduce((best, here, index) => Math.abs(here - value) < Math.abs(x[best] - value) ? index : best, 0);
    show();
  });
  svg.addEventListener("pointerleave", () => { at = null; show(); });
  svg.addEventListener("blur", () => { at = null; show(); });
  svg.addEventListener("keydown", event => {
    const page = Math.max(1, Math.round(x.length / 10)), now = at === null ? x.length - 1 : at;
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0,
      End: x.length - 1, PageDown: now - page, PageUp: now + page }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    at = Math.max(0, Math.min(x.length - 1, to));
    show();
  });
  // Not within the observer's call, which would observe what it has changed.
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(svg);
  if (isCut) figure.append(make("p", { class: "quiet small" }, "The highest values are above the frame."));
  show();
  return figure;
}
lineChart.count = 0;
