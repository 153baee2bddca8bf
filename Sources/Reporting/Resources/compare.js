// Several runs side by side.

function compare(runs) {
  document.title = data.title;
  const color = number => seriesColor(number), dashed = number => Math.floor(number / 8) % 2 === 1;
  report.append(make("header", null, make("h1", null, runs.length + " runs"),
    make("p", { class: "quiet" }, "Those with the best result come first.")));
  const name = run => run.name;
  const key = run => make("span", { class: dashed(runs.indexOf(run)) ? "key stroke dashed" : "key stroke",
    style: "border-color:" + color(runs.indexOf(run)) });
  const over = (title, member, format, number = true) => ({ title, number, sort: run => run.overview[member],
    cell: run => known(run.overview[member]) || typeof run.overview[member] === "string"
      ? format(run.overview[member]) : "–" });
  section("results", "Results", place => place.append(table([
    { title: "run", class: "name", sort: name, cell: run => [key(run), name(run),
      stateTexts[run.overview.state] ? make("span", { class: "state" }, stateTexts[run.overview.state]) : null] },
    over("best", "bestAccuracy", percent), over("epoch", "bestEpoch", String), over("last", "accuracy", percent),
    over("last loss", "loss", short), over("epochs", "epochsDone", String), over("time", "seconds", time),
    over("pictures/s", "imagesPerSecond", value => short(Math.round(value))),
    over("planned peak", "plannedPeakBytes", bytes), over("largest resident", "measuredPeakBytes", bytes)],
  runs, { label: "Results", open: true })));

  section("curves", "Curves", place => {
    const charts = make("div", { class: "charts" });
    // A run's own epochs, put into those of all.
    const epochs = [...new Set(runs.flatMap(run => (run.log && run.log.epoch || []).filter(known)))].sort((a, b) => a - b);
    if (!epochs.length) { place.append(absent("None of the runs has completed an epoch.")); return; }
    const add = (title, column, more) => {
      const series = runs.map((run, number) => {
        if (!run.log || !run.log[column]) return null;
        const values = new Map(run.log.epoch.map((epoch, index) => [epoch, run.log[column][index]]));
        return { name: run.name, values: epochs.map(epoch => values.has(epoch) ? values.get(epoch) : null),
          color: color(number), dashed: dashed(number) };
      }).filter(Boolean);
      if (series.some(one => one.values.some(known)))
        charts.append(lineChart({ title, x: epochs, xName: "epoch", series, ...more }));
    };
    const metrics = [...new Set(runs.map(metricName).filter(Boolean))];
    for (const metric of metrics) add("Held-out " + titleOf(metric), "val_" + metric, { percents: true, format: percent });
    add("Held-out loss", "val_loss", { zero: true });
    add("Training loss", "train_loss", { zero: true });
    add("Learning rate", "learning_rate", { zero: true });
    place.append(charts);
  });

  section("settings", "Settings that differ", place => {
    if (!data.differing.length) { place.append(absent("All settings are the same.")); return; }
    place.append(table([{ title: "setting", cell: setting => make("b", null, setting) },
      ...runs.map(run => ({ title: run.name, class: "name", cell: setting =>
        run.overview.settings[setting] === undefined ? "–" : String(run.overview.settings[setting]) }))],
    data.differing, { label: "Settings that differ", open: true }));
  });

  section("memory", "Memory", place => {
    const entries = runs.filter(run => known(run.overview.plannedPeakBytes));
    if (!entries.length) { place.append(absent("None of the runs has ended, so that no summary.json says what was planned.")); return; }
    const whole = Math.max(...entries.map(run => run.overview.plannedPeakBytes));
    place.append(make("p", { class: "quiet" }, "What the plan said that each run needs beside its base."),
      ...entries.map(run => peak(run.name, make("div", { class: "stack" },
        bar(run.overview.plannedPeakBytes / whole, color(runs.indexOf(run)))), run.overview.plannedPeakBytes)));
  });
}
