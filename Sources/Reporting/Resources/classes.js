// What the classes are taken for: the confusion matrix, or the overlap class by class, and the worst of both.

function classes(place, run) {
  const metrics = run.best && run.best.metrics || run.metrics;
  if (!metrics || !metrics.classes) { place.append(absent(run.missing.metrics)); return; }
  const epoch = run.best && run.best.metrics ? run.best.epoch : null;
  const said = [];
  if (known(metrics.count)) said.push("On " + metrics.count + " held-out pictures"
    + (known(epoch) ? ", after epoch " + epoch : "") + ".");
  const totals = Object.entries(metrics).filter(([name, value]) => known(value) && !["count", "loss", "pixels"].includes(name)
    // Of five classes all are among the best five.
    && !(name === "top5" && metrics.classes.length <= 5));
  place.append(make("p", { class: "quiet" }, said.join(" ")),
    facts(totals.map(([name, value]) => [metricTitles[name] || titleOf(name), percent(value)])));
  const isOverlap = metrics.classes.some(one => known(one.iou));
  const list = isOverlap ? overlapClasses(metrics, run.best && run.best.colours) : metrics.classes;
  if (!isOverlap && Array.isArray(metrics.confusion)) confusion(place, metrics);
  mistakes(place, metrics);
  const number = name => ({ title: { f1: "F1", iou: "IoU", boundaryF: "boundary F" }[name] || name, number: true,
    sort: one => one[name], cell: one => percent(one[name]) });
  const main = isOverlap ? "iou" : "f1";
  const columns = [{ title: "class", class: "name", sort: one => one.name, cell: one => [one.colour
    ? make("span", { class: "key", style: "background:" + one.colour }) : null, one.name] }, number(main),
    { title: "", class: "fill", cell: one => bar(one[main], one.colour) }, number("precision"), number("recall"),
    ...(list.some(one => known(one.boundaryF)) ? [number("boundaryF")] : []),
    { title: isOverlap ? "pixels" : "pictures", number: true, sort: one => one.count,
      cell: one => known(one.count) ? one.count.toLocaleString("en") : "–" }];
  // Of many classes the worst are what is looked for.
  const rows = [...list];
  if (rows.length > 20) rows.sort((a, b) => (known(a[main]) ? a[main] : 2) - (known(b[main]) ? b[main] : 2));
  place.append(make("h3", null, isOverlap ? "Overlap of each class" : "Each class"),
    table(columns, rows, { label: "Numbers of each class" }));
}

/** The classes of a segmentation: with precision and recall of their pixels, and their colors. */
function overlapClasses(metrics, colours) {
  const share = (part, whole) => whole > 0 ? part / whole : undefined;
  return metrics.classes.map((one, number) => {
    const right = Array.isArray(metrics.confusion) ? metrics.confusion[number][number] : undefined;
    const count = known(one.pixels) ? one.pixels : one.count;
    return { precision: share(right, one.predicted), recall: share(right, count), ...one, count,
      colour: colours && colours[number] };
  });
}

const metricTitles = { precision: "mean precision", recall: "mean recall", f1: "mean F1", iou: "mean IoU" };

/** The pairs of a class and another that it was taken for most often. */
function mistakes(place, metrics) {
  const names = metrics.classes.map(one => one.name);
  let pairs = metrics.mistakes ? metrics.mistakes.map(pair => ({ ...pair })) : [];
  if (Array.isArray(metrics.confusion)) metrics.confusion.forEach((row, own) => row.forEach((count, other) => {
    if (own !== other && count > 0) pairs.push({ of: names[own], takenFor: names[other], count });
  }));
  const support = new Map(metrics.classes.map(one => [one.name, known(one.pixels) ? one.pixels : one.count]));
  pairs = pairs.sort((a, b) => b.count - a.count).slice(0, 12);
  if (!pairs.length) return;
  const most = pairs[0].count;
  const share = pair => support.get(pair.of) > 0 ? pair.count / support.get(pair.of) : null;
  place.append(make("h3", null, "Most often confused"),
    make("p", { class: "quiet small" }, "The share is that of the class."), table([
    { title: "class", class: "name", cell: pair => pair.of },
    { title: "taken for", class: "name", cell: pair => pair.takenFor },
    { title: metrics.pixels ? "pixels" : "times", number: true, cell: pair => pair.count.toLocaleString("en") },
    { title: "", class: "fill", cell: pair => bar(pair.count / most, "var(--c2)") },
    { title: "share", number: true, cell: pair => percent(share(pair), 1) }], pairs,
    { label: "Most often confused", open: true }));
}

/** How strongly a cell is colored: by its share of the class, so that rare ones can be seen too. */
const heatOf = (count, all) => count > 0 ? 0.08 + 0.92 * Math.sqrt(count / Math.max(1, all)) : 0;

function confusion(place, metrics) {
  const names = metrics.classes.map(one => one.name), rows = metrics.confusion;
  const all = rows.map(row => row.reduce((sum, count) => sum + count, 0));
  place.append(make("h3", null, "Confusion"), make("p", { class: "quiet small" },
    "A row for each class, a column for what its pictures were taken for."));
  if (names.length > 24) { heatMap(place, names, rows, all); return; }
  const cell = (count, own, other) => {
    const heat = heatOf(count, all[own]), color = own === other ? "var(--heat)" : "var(--c2)";
    return make("td", { class: own === other && "own", title: names[own] + " taken for " + names[other] + ": " + count,
      style: count ? "background:color-mix(in srgb, " + color + " " + (heat * 62).toFixed(0) + "%, transparent)" : null },
      count ? String(count) : "");
  };
  place.append(make("div", { class: "scroll open", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
    make("table", { class: "confusion" },
      make("thead", null, make("tr", null, make("td", null), names.map(
        name => make("th", { scope: "col", title: name }, name.length > 3 ? make("span", null, name) : name)))),
      make("tbody", null, rows.map((row, own) => make("tr", null, make("th", { scope: "row", title: names[own] }, names[own]),
        row.map((count, other) => cell(count, own, other))))))));
}

/** Of many classes a picture, whose cells are read by the pointer or the arrow keys. */
function heatMap(place, names, rows, all) {
  const canvas = make("canvas", { class: "heat", width: names.length, height: names.length, tabindex: 0, role: "img",
    "aria-label": "Confusion matrix. Arrow keys go from cell to cell." });
  const said = make("p", { class: "small", "aria-live": "polite" }, "Point at a cell, or choose the picture and use the arrow keys.");
  let own = 0, other = 0;
  function paint() {
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    pen.globalAlpha = 1;
    pen.clearRect(0, 0, names.length, names.length);
    rows.forEach((row, y) => row.forEach((count, x) => {
      if (!count) return;
      pen.globalAlpha = heatOf(count, all[y]);
      pen.fillStyle = style.getPropertyValue(x === y ? "--heat" : "--c2");
      pen.fillRect(x, y, 1, 1);
    }));
  }
  function say() {
    said.textContent = names[own] + " taken for " + names[other] + ": " + rows[own][other] + " of " + all[own];
  }
  canvas.onpointermove = event => {
    const box = canvas.getBoundingClientRect(), last = names.length - 1;
    other = Math.max(0, Math.min(last, Math.floor((event.clientX - box.left) / box.width * names.length)));
    own = Math.max(0, Math.min(last, Math.floor((event.clientY - box.top) / box.height * names.length)));
    say();
  };
  canvas.onkeydown = event => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    own = Math.max(0, Math.min(names.length - 1, own + move[0]));
    other = Math.max(0, Math.min(names.length - 1, other + move[1]));
    say();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();
  place.append(canvas, said);
}
