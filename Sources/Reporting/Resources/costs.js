// Where memory and time go.

const memoryParts = [["parameterBytes", "parameters", "var(--c3)"], ["optimizerBytes", "optimizer", "var(--c4)"],
  ["activationBytes", "activations", "var(--c1)"], ["gradientBytes", "gradients", "var(--c2)"],
  ["scratchBytes", "scratch", "var(--c8)"], ["feedBytes", "input", "var(--c6)"]];

/** A bar between its name and its bytes. */
const peak = (name, bar, count) => make("div", { class: "peak" }, make("span", null, name), bar,
  make("b", null, bytes(count)));

const normTitles = { inplace: "in-place", standard: "standard" };
const layerTitle = norm => (normTitles[norm] || norm) + " layer";

function memory(place, run) {
  const plans = run.profile && run.profile.plans || [];
  if (!plans.length) { place.append(absent(run.missing.profile)); return; }
  const own = plans.find(plan => plan.isOwn) || plans[0], other = plans.find(plan => plan !== own);
  const inPlace = plans.find(plan => plan.norm === "inplace"), standard = plans.find(plan => plan.norm === "standard");
  if (inPlace && standard) {
    const share = inPlace.peakBytes / standard.peakBytes;
    place.append(make("p", null, "A training step with the in-place layer needs ", make("b", null, bytes(inPlace.peakBytes)),
      ", with the standard layer ", make("b", null, bytes(standard.peakBytes)),
      share < 1 ? ": " + percent(1 - share, 0) + " less. " : ". ",
      make("span", { class: "quiet" }, "This run used the " + layerTitle(own.norm) + ".")));
  }
  const whole = Math.max(...plans.map(plan => plan.peakBytes));
  const drawn = plans.map(plan => stack(memoryParts.map(([key, name, color]) =>
    ({ name, color, value: plan[key] })), whole, bytes, layerTitle(plan.norm)));
  const names = new Set(plans.flatMap(plan => memoryParts.filter(part => plan[part[0]] > 0).map(part => part[1])));
  plans.map((plan, number) => peak(layerTitle(plan.norm), drawn[number].bar, plan.peakBytes)).forEach(
    row => place.append(row));
  place.append(make("div", { class: "keys" }, memoryParts.filter(part => names.has(part[1])).map(part => make("span", null,
      make("span", { class: "key", style: "background:" + part[2] }), part[1]))),
    make("p", { class: "quiet small" }, "Parameters, what the optimizer keeps, and what is alive at the peak of a step"
      + (known(run.profile.batchSize) ? " of " + run.profile.batchSize + " pictures" : "") + ", as planned before the first step."));
  const most = Math.max(...plans.map(plan => plan.timeline ? plan.timeline.arena : 0));
  for (const plan of plans) {
    if (!plan.timeline) continue;
    const box = make("div", { class: "timeline" });
    place.append(make("figure", null, make("figcaption", null, "The step's memory, " + layerTitle(plan.norm)), box));
    drawTimeline(box, plan.timeline, { height: () => Math.round(300 * Math.max(0.3, plan.timeline.arena / most)),
      most: Math.max(plan.timeline.arena, 0.3 * most), name: "Memory over the steps, " + layerTitle(plan.norm) });
    if (plan.timeline.omitted) place.append(make("p", { class: "quiet small" },
      plan.timeline.omitted + " of the smallest blocks are not drawn."));
  }
  if (run.missing.timelines) place.append(absent(run.missing.timelines));
  place.append(make("p", { class: "quiet small" }, "Steps from left to right, addresses from bottom to top, one scale for both. "
    + "Choose a picture, then: arrow keys or the pointer for values, + and − or the wheel to zoom, 0 for everything."));
  if (own.peakTensors && own.peakTensors.length) {
    const largest = own.peakTensors[0].bytes;
    place.append(make("h3", null, "The largest at the peak, " + layerTitle(own.norm)),
      make("p", { class: "quiet small" }, "The peak is at " + own.peakStep + "."), table([
        { title: "tensor", class: "name", cell: tensor => breakable(tensor.name) },
        { title: "bytes", number: true, cell: tensor => bytes(tensor.bytes) },
        { title: "", class: "fill", cell: tensor => bar(tensor.bytes / largest) },
        { title: "use", cell: tensor => tensor.use },
        { title: "made by", class: "name", cell: tensor => breakable(tensor.origin) }], own.peakTensors,
        { label: "The largest tensors at the peak", open: true }));
  }
  if (!other && run.missing.otherPlan) place.append(absent(run.missing.otherPlan));
}

function times(place, run) {
  const spent = run.times, total = run.overview.seconds;
  if (spent && known(total)) {
    const rest = total - spent.steps - spent.evaluation - spent.checkpoints;
    const share = value => percent(value / total, 1);
    const list = [["training steps", spent.steps - spent.waiting, "var(--c1)"], ["waiting for data", spent.waiting, "var(--c2)"],
      ["evaluation", spent.evaluation, "var(--c3)"], ["checkpoints", spent.checkpoints, "var(--c4)"],
      ["start and the rest", Math.max(0, rest), "var(--c8)"]]
      .map(([name, value, color]) => ({ name, value, color, note: share(value) }));
    const drawn = stack(list, Math.max(total, list.reduce((sum, part) => sum + part.value, 0)), time, "The run's time");
    place.append(make("h3", null, "The run, " + time(total)), drawn.bar, drawn.keys);
  } else {
    place.append(absent(run.missing.times));
  }
  const step = run.profile && run.profile.step;
  if (!step) { place.append(absent(run.profile && run.profile.stepMissing || run.missing.profile)); return; }
  const drawn = stack([["forward", step.forwardSeconds, "var(--c1)"], ["backward", step.backwardSeconds, "var(--c2)"],
    ["update", step.updateSeconds, "var(--c3)"]].map(([name, value, color]) => ({ name, value, color,
    note: percent(value / step.seconds, 1) })), step.seconds, time, "One step");
  place.append(make("h3", null, "One step, " + time(step.seconds)), drawn.bar, drawn.keys);
  const list = (title, first, entries) => {
    const most = Math.max(...entries.map(entry => entry.seconds));
    return make("div", null, make("h3", null, title), table([
      { title: first, class: "name", sort: entry => entry.name, cell: entry => breakable(entry.name) },
      { title: "times", number: true, sort: entry => entry.count, cell: entry => String(entry.count) },
      { title: "time", number: true, sort: entry => entry.seconds, cell: entry => time(entry.seconds) },
      { title: "", class: "fill", cell: entry => bar(entry.seconds / most) },
      { title: "share", number: true, sort: entry => entry.seconds, cell: entry => percent(entry.seconds / step.seconds, 1) }],
      entries, { label: title }));
  };
  place.append(make("div", { class: "charts" }, list("By kind of operation", "operation", step.kinds),
    list("By layer", "layer", step.layers)));
}
