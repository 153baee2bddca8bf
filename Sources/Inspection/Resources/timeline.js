// A plan as a picture. A plan says what it is: `steps` by name; `rows`, one for each block: [first step, last step,
// offset, bytes, use, label]; `arena`, its bytes; `peak`, the step at which most are alive; `backward`, the first
// step of the backward pass, or null.

/** What a block is for, by color. */
const useColors = { feed: "#8c6bb1", activation: "#3182bd", gradient: "#e6550d",
  scratch: "#999999", persistent: "#31a354" };

/** Draws a plan in an element of class `timeline`.
 *
 * height: gives the pixels to draw in; most: the bytes that the whole height stands for, where they are not the
 * arena's: plans side by side have one scale; name: what the picture is called; takesWheel: whether the wheel is the
 * picture's from the start: in a page with more than the picture it goes on through the page until that is chosen. */
function drawTimeline(place, plan, { height: wanted, most = plan.arena, name = "memory over the steps",
  takesWheel = false }) {
  const { steps, rows, arena, peak, backward } = plan;
  const element = (tag, name) => {
    const made = document.createElement(tag);
    made.className = name;
    place.append(made);
    return made;
  };
  const legend = element("div", "legend"), canvas = element("canvas", "view"), said = element("div", "said"),
    tip = element("div", "tip");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name + ". Arrow keys go from step to step, + and - zoom, 0 shows everything.");
  said.setAttribute("aria-live", "polite");
  const paint = canvas.getContext("2d");
  // The colors of the style sheet, which follow the reader's light or dark scheme.
  const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name);
  const size = n => n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KiB"
    : (n / 1048576).toFixed(1) + " MiB";
  for (const use of Object.keys(useColors).filter(use => rows.some(row => row[4] === use))) {
    const key = document.createElement("span"), entry = document.createElement("span");
    key.className = "key";
    key.style.background = useColors[use];
    entry.append(key, use);
    legend.append(entry);
  }
  // Live bytes before, at and after every step.
  const live = new Array(steps.length + 3).fill(0);
  for (const [first, last, , bytes] of rows) {
    live[first + 1] += bytes; live[last + 2] -= bytes;
  }
  for (let i = 1; i < live.length; i++) live[i] += live[i - 1];
  let view;
  function everything() { view = { x: -1, w: steps.length + 2, y: 0, h: most * 1.1 || 1 }; }
  // In the page's pixels; the canvas has the screen's, so that lines stay sharp. The lowest 16 are
  // for the numbers of the steps.
  let width = 0, height = 0, cursor = null;
  const X = step => (step - view.x) / view.w * width;
  const Y = byte => height - (byte - view.y) / view.h * height;
  // 1, 2 or 5 times a power of ten, so that at most `count` of them make the whole.
  function tick(whole, count) {
    let unit = 1;
    while (unit * 10 * count <= whole) unit *= 10;
    return unit * [1, 2, 5, 10].find(n => n * unit * count >= whole);
  }
  // A text that can be read over whatever is there.
  function write(text, x, y) {
    paint.lineWidth = 3; paint.strokeStyle = color("edge"); paint.lineJoin = "round";
    paint.strokeText(text, x, y);
    paint.fillStyle = color("ink"); paint.fillText(text, x, y);
    paint.lineWidth = 1;
  }
  function scales() {
    paint.font = "11px sans-serif"; paint.lineWidth = 1;
    const base = view.h > 2 << 20 ? 1 << 20 : view.h > 2 << 10 ? 1 << 10 : 1;
    const unit = tick(view.h / base, Math.max(1, Math.floor(height / 34))) * base;
    const each = tick(view.w, Math.max(1, Math.floor(width / 80)));
    for (let at = Math.max(0, Math.ceil(view.y / unit) * unit); at < view.y + view.h; at += unit) {
      paint.fillStyle = color("rule"); paint.fillRect(0, Y(at), width, 1);
      if (Y(at) > 12 && at > 0) write(at / base + (base === 1 ? " B" : base === 1024 ? " KiB" : " MiB"), 4, Y(at) - 3);
    }
    for (let at = Math.max(0, Math.ceil(view.x / each) * each);
      at < Math.min(view.x + view.w, steps.length); at += each) {
      const text = "step " + at;
      paint.fillStyle = color("ink"); paint.fillRect(X(at), height, 1, 5);
      if (X(at) + 3 + paint.measureText(text).width < width) paint.fillText(text, X(at) + 3, height + 12);
    }
  }
  // Dashed lines through steps, and beside them what they are: of two the left one has its text at its left, so
  // that none crosses a line.
  function mark(marks) {
    const shown = marks.map(([step, text]) => [X(step), text]).filter(([at]) => at >= 0 && at <= width)
      .sort((a, b) => a[0] - b[0]);
    shown.forEach(([at, text], line) => {
      paint.strokeStyle = color("line"); paint.setLineDash([4, 4]); paint.beginPath();
      paint.moveTo(at, 0); paint.lineTo(at, height); paint.stroke();
      paint.setLineDash([]);
      const wide = paint.measureText(text).width + 5;
      const isLeft = at + wide > width || (line === 0 && shown.length > 1 && at > wide + 44);
      write(text, isLeft ? at - wide : at + 5, shown.length > 1 && line === 0 && !isLeft ? 25 : 11);
    });
  }
  function draw() {
    width = Math.round(place.getBoundingClientRect().width);
    height = wanted(canvas);
    if (width < 1) return;
    canvas.style.width = width + "px"; canvas.style.height = height + 16 + "px";
    const sharp = devicePixelRatio || 1;
    canvas.width = width * sharp; canvas.height = (height + 16) * sharp;
    paint.setTransform(sharp, 0, 0, sharp, 0, 0);
    paint.save(); paint.beginPath(); paint.rect(0, 0, width, height); paint.clip();
    paint.font = "11px sans-serif";
    const edge = color("edge");
    for (const [first, last, offset, bytes, use, label] of rows) {
      const x = X(first), y = Y(offset + bytes);
      const w = Math.max(1, X(last + 1) - x), h = Math.max(1, Y(offset) - y);
      if (x > width || x + w < 0 || y > height || y + h < 0) continue;
      paint.fillStyle = useColors[use]; paint.globalAlpha = 0.75;
      paint.fillRect(x, y, w, h);
      paint.globalAlpha = 1;
      if (w > 3 && h > 3) { paint.strokeStyle = edge; paint.strokeRect(x, y, w, h); }
      const name = label.split("\n")[0].split(": ")[0], from = Math.max(x, 0);
      if (h > 13 && paint.measureText(name).width < Math.min(x + w, width) - from - 76) {
        paint.fillStyle = "#fff"; paint.fillText(name, from + 70, y + h / 2 + 4);
      }
    }
    paint.strokeStyle = color("line"); paint.beginPath();
    for (let i = 0; i < live.length - 1; i++) {
      paint.lineTo(X(i - 1), Y(live[i])); paint.lineTo(X(i), Y(live[i]));
    }
    paint.stroke();
    const marks = [[peak + 0.5, "peak, " + size(live[peak + 1])]];
    if (backward !== null && backward !== undefined) marks.push([backward, "the backward pass begins"]);
    mark(marks);
    if (cursor !== null) {
      paint.fillStyle = color("line"); paint.globalAlpha = 0.25;
      paint.fillRect(X(cursor), 0, Math.max(2, X(cursor + 1) - X(cursor)), height);
      paint.globalAlpha = 1;
    }
    paint.restore();
    scales();
  }
  const stepText = step => "step " + step + ": " + steps[step] + ", " + size(live[step + 1]) + " alive";
  function at(event) {
    return [view.x + event.offsetX / width * view.w,
      view.y + (height - event.offsetY) / height * view.h];
  }
  function zoom(factor, step, byte) {
    view.x = step - (step - view.x) * factor; view.w *= factor;
    if (byte !== null) { view.y = byte - (byte - view.y) * factor; view.h *= factor; }
    draw();
  }
  // A text beside a place of the window, within its edges.
  function say(text, x, y) {
    tip.style.display = text ? "block" : "none";
    tip.textContent = text;
    const box = tip.getBoundingClientRect(), below = y + 14;
    tip.style.left = Math.max(0, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top =
      Math.max(0, below + box.height > innerHeight ? below - 28 - box.height : below) + "px";
  }
  let drag = null;
  canvas.onmousedown = event => { drag = at(event); };
  window.addEventListener("mouseup", () => { drag = null; });
  canvas.onmousemove = event => {
    const [step, byte] = at(event);
    if (drag) {
      view.x += drag[0] - step; view.y += drag[1] - byte; draw(); return;
    }
    const hit = rows.find(row => step >= row[0] && step < row[1] + 1
      && byte >= row[2] && byte < row[2] + row[3]);
    const here = Math.floor(step);
    say((hit ? size(hit[3]) + " at " + hit[2] + ", steps " + hit[0] + " to "
      + hit[1] + "\n" + hit[5] + "\n" : "") + (steps[here] !== undefined ? stepText(here) : ""),
      event.clientX, event.clientY);
  };
  canvas.onmouseleave = () => { say("", 0, 0); };
  canvas.addEventListener("wheel", event => {
    if (!takesWheel && document.activeElement !== canvas) return;
    event.preventDefault();
    const [step, byte] = at(event);
    // With shift some browsers turn the wheel sideways.
    zoom((event.deltaY || event.deltaX) < 0 ? 0.8 : 1.25, step, event.shiftKey ? null : byte);
  }, { passive: false });
  canvas.ondblclick = () => { everything(); draw(); };
  canvas.onkeydown = event => {
    const now = cursor === null ? peak : cursor;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - 20, PageDown: now + 20, Home: 0,
      End: steps.length - 1 }[event.key];
    if (to !== undefined) {
      cursor = Math.max(0, Math.min(steps.length - 1, to));
      said.textContent = stepText(cursor);
      if (cursor < view.x || cursor + 1 > view.x + view.w) view.x = cursor - view.w / 2;
      draw();
      const box = canvas.getBoundingClientRect();
      say(said.textContent, box.left + X(cursor), box.top + height / 3);
    } else if (event.key === "+" || event.key === "=") {
      zoom(0.8, now, null);
    } else if (event.key === "-") {
      zoom(1.25, now, null);
    } else if (event.key === "0") {
      everything(); draw();
    } else { return; }
    event.preventDefault();
  };
  canvas.onblur = () => { cursor = null; said.textContent = ""; say("", 0, 0); draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("resize", draw);
  everything();
  // Not within the observer's call, which would observe what it has changed.
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(place);
  return { sums: size(arena) + " arena, " + steps.length + " steps, " + rows.length + " blocks" };
}
