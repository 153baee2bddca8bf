// The report of one run, or of several side by side. `data` says what there is: see Sources/Reporting/README.md.

const report = document.getElementById("report");

/** A section with what `fill` puts into it; what fails there leaves the others as they are. */
function section(id, title, fill) {
  const place = make("section", { id, "aria-labelledby": id + "-title" }, make("h2", { id: id + "-title" }, title));
  report.append(place);
  try {
    fill(place);
  } catch (error) {
    place.append(make("p", { class: "quiet" }, "This part cannot be shown: " + error.message));
  }
}

/** A line in the place of what a run does not have. */
const absent = text => make("p", { class: "quiet" }, text);

/** A column of the log as numbers, or null. */
const column = (run, name) => run.log && run.log[name] && run.log[name].some(known) ? run.log[name] : null;

/** The number that says how good a run is: the first of the validation that is no loss. */
function metricName(run) {
  const names = Object.keys(run.log || {}).filter(name => name.startsWith("val_") && !name.endsWith("loss"));
  return names.length ? names[0].slice(4) : null;
}

const stateTexts = { ended: "", interrupted: "interrupted", unfinished: "unfinished" };
const reasonTexts = { finished: "all epochs done", interrupted: "interrupted", earlyStopped: "ended early: no better for long",
  timeBudget: "ended by its time budget" };

function date(text) {
  const when = text ? new Date(text) : null;
  return when && !Number.isNaN(when.getTime())
    ? when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "not recorded";
}

function facts(pairs) {
  return make("dl", { class: "facts" }, pairs.filter(pair => pair[1] !== null).map(
    ([name, value]) => make("div", null, make("dt", null, name), make("dd", null, value))));
}

/** What data are called: of a path its last part. */
const dataName = data => data ? data.replace(/:.*\/(?=[^/])/, ":") : "unknown data";

function head(run) {
  const over = run.overview, metric = metricName(run) || "accuracy";
  const name = titleOf(metric);
  const best = over.bestAccuracy, state = stateTexts[over.state];
  report.append(make("header", null,
    make("h1", null, (over.model || "a model") + " on " + dataName(over.data)),
    make("p", { class: "quiet" }, "run ", run.name, state ? " " : null, state ? make("span", { class: "state" }, state) : null),
    make("div", { class: "head" },
      make("div", null, make("div", { class: "result" },
        known(best) || known(over.accuracy) ? percent(known(best) ? best : over.accuracy) : "not evaluated"),
        make("div", { class: "quiet" }, known(best) && known(over.bestEpoch)
          ? "held-out " + name + " after epoch " + over.bestEpoch + ", the best" : "held-out " + name))),
    facts([
      ["last " + name, known(over.accuracy) ? percent(over.accuracy) : null],
      ["last held-out loss", known(over.loss) ? short(over.loss) : null],
      ["epochs", over.epochsDone + (known(over.epochs) ? " of " + over.epochs : "")],
      ["ended", run.reason ? reasonTexts[run.reason] || run.reason : null],
      ["started", date(run.started)],
      ["took", time(over.seconds)],
      ["pictures a second", known(over.imagesPerSecond) ? short(Math.round(over.imagesPerSecond)) : null],
      ["planned peak", known(over.plannedPeakBytes) ? bytes(over.plannedPeakBytes) : null],
      ["largest resident size", known(over.measuredPeakBytes) ? bytes(over.measuredPeakBytes) : null],
    ]),
    make("nav", { "aria-label": "Parts of this report" }, parts.map(
      ([id, title]) => make("a", { href: "#" + id }, title)))));
}

/** The values of a chart as a table, made when it is opened. */
function valuesTable(columns, count, label) {
  const details = make("details", null, make("summary", null, "The values as a table"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const rows = Array.from({ length: count }, (_, index) => index);
    details.append(table(columns.map(({ title, values, format }) =>
      ({ title, number: true, cell: row => known(values[row]) ? format(values[row]) : "–" })), rows, { label }));
  });
  return details;
}

function curves(place, run) {
  const epochs = column(run, "epoch");
  if (!epochs) { place.append(absent(run.missing.log || "No epoch was completed, so that log.csv has no row.")); return; }
  const charts = make("div", { class: "charts" });
  const series = (name, title, number, more) => column(run, name)
    ? { name: title, values: run.log[name], color: seriesColor(number), ...more } : null;
  const mark = known(run.overview.bestEpoch) ? { at: run.overview.bestEpoch, text: "best" } : null;
  const add = (title, list, more) => {
    const there = list.filter(Boolean);
    if (there.length) charts.append(lineChart({ title, x: epochs, xName: "epoch", series: there, mark, ...more }));
  };
  add("Loss", [series("train_loss", "training", 0), series("val_loss", "held out", 1)], { zero: true });
  const metric = metricName(run) || "accuracy";
  const others = Object.keys(run.log).filter(name => name.startsWith("val_") && !name.endsWith("loss")
    && name !== "val_" + metric);
  add(capital(titleOf(metric)),
    [series("train_" + metric, "training", 0), series("val_" + metric, "held out", 1),
      ...others.slice(0, 4).map((name, number) => series(name, titleOf(name.slice(4)), number + 3, { dashed: true }))],
    { percents: true, format: percent });
  const steps = run.steps;
  if (steps && steps.step && steps.step.length > 1) {
    charts.append(lineChart({ title: "Learning rate", x: steps.step, xName: "step", zero: true,
      series: [{ name: "learning rate", values: steps.learning_rate || [], color: seriesColor(2) }] }));
    charts.append(lineChart({ title: "Loss of single steps", x: steps.step, xName: "step", zero: true,
      series: [{ name: "training", values: steps.loss || [], color: seriesColor(0) }] }));
  } else {
    add("Learning rate", [series("learning_rate", "learning rate", 2)], { zero: true, mark: null });
  }
  const shares = name => name.endsWith("accuracy") || (name.startsWith("val_") && !name.endsWith("loss"));
  const names = Object.keys(run.log).filter(name => !["epoch", "is_best", "step"].includes(name) && column(run, name));
  place.append(charts, valuesTable([{ title: "epoch", values: epochs, format: String },
    ...names.map(name => ({ title: name.startsWith("val_") ? "held-out " + titleOf(name.slice(4)) : titleOf(name),
      values: run.log[name], format: shares(name) ? percent : short }))], epochs.length, "Values of each epoch"));
}

function predictions(place, run) {
  const groups = (run.best && run.best.groups || []).filter(group => group.items.length);
  if (!groups.length) { place.append(absent(run.missing.predictions)); return; }
  if (known(run.best.epoch))
    place.append(make("p", { class: "quiet" }, "Of the held-out pictures, after epoch " + run.best.epoch + "."));
  for (const group of groups) {
    const isLarge = group.items.some(item => item.pictures.length > 1);
    place.append(make("h3", null, group.title), make("div", { class: isLarge ? "pictures large" : "pictures" },
      group.items.map(item => prediction(item, group))));
  }
}

function prediction(item, group) {
  const alt = picture => picture.name + " of " + item.name + (item.truth ? ", " + item.truth : "");
  const images = item.pictures.map(picture => {
    const image = make("img", { src: picture.uri, alt: alt(picture), loading: "lazy",
      class: picture.isCoarse && "coarse" });
    return item.pictures.length > 1 ? make("div", null, image, make("div", { class: "quiet" }, picture.name)) : image;
  });
  const said = [];
  if (item.truth) said.push(make("b", null, item.truth));
  if (item.predicted && !group.isRight)
    said.push(", ", make("span", { class: "wrong" }, "taken for " + item.predicted));
  if (known(item.probability)) said.push(make("span", { class: "nowrap" }, " " + probability(item.probability)));
  if (known(item.score)) said.push(make("span", null, (item.scoreName || "score") + " " + percent(item.score, 1)));
  return make("figure", null, item.pictures.length > 1 ? make("div", { class: "row" }, images) : images,
    make("figcaption", { title: item.name }, said));
}

/** 99.97 % and 99.9999 % are told apart, and nothing below certainty is called 100 %. */
function probability(value) {
  const share = value * 100;
  if (share >= 99.95) return share === 100 ? "> 99.9999 %" : share.toFixed(Math.min(4, Math.ceil(-Math.log10(100 - share)) + 1)) + " %";
  return share.toFixed(1) + " %";
}

function settings(place, run) {
  const entries = Object.entries(run.overview.settings || {});
  if (run.command) place.append(make("h3", null, "The command"), make("pre", { tabindex: 0 }, run.command));
  if (run.repeat) place.append(make("h3", null, "To run it again"), make("pre", { tabindex: 0 }, run.repeat));
  if (run.versions && run.versions.length) place.append(make("h3", null, "Versions"),
    ...run.versions.map(line => make("p", { class: "small" }, line)));
  if (run.missing.record) place.append(absent(run.missing.record));
  if (!entries.length) return;
  place.append(make("h3", null, "Settings"), table([
    { title: "setting", cell: entry => entry[0], sort: entry => entry[0] },
    { title: "value", class: "name", cell: entry => String(entry[1]) }], entries, { label: "Settings" }));
}

const parts = [["curves", "Curves"], ["metrics", "Classes"], ["predictions", "Predictions"], ["memory", "Memory"],
  ["time", "Time"], ["settings", "Settings"]];

function one(run) {
  document.title = data.title;
  head(run);
  section("curves", "How it went", place => curves(place, run));
  section("metrics", "Class by class", place => classes(place, run));
  section("predictions", "Best and worst predictions", place => predictions(place, run));
  section("memory", "Where memory goes", place => memory(place, run));
  section("time", "Where time goes", place => times(place, run));
  section("settings", "Settings, versions, command", place => settings(place, run));
}

if (data.runs.length === 1) one(data.runs[0]); else compare(data.runs);
report.append(make("p", { class: "quiet small" }, "Written by abn " + data.version + ", " + date(data.written) + "."));
