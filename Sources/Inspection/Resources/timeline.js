// The page says before this script what the plan is: steps by name; a row for each block, [first step, last step,
// offset, bytes, use, label]; the bytes of the arena; the step at the peak.
const { steps, rows, arena, peak } = plan;
const colors = { feed: "#8c6bb1", activation: "#3182bd", gradient: "#e6550d",
  scratch: "#999999", persistent: "#31a354" };
const canvas = document.getElementById("view"), tip = document.getElementById("tip");
const paint = canvas.getContext("2d");
// The colors of the style sheet, which follow the reader's light or dark scheme.
const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name);
const size = n => n < 1024 ? n + " B" : n < 1048576 ? (n / 1024).toFixed(1) + " KiB"
  : (n / 1048576).toFixed(1) + " MiB";
document.getElementById("sums").textContent =
  size(arena) + " arena, " + steps.length + " steps, " + rows.length + " blocks";
document.getElementById("legend").innerHTML = Object.keys(colors).filter(
  use => rows.some(row => row[4] === use)).map(
  use => '<span class="key" style="background:' + colors[use] + '"></span>' + use).join("");
// Live bytes before, at and after every step.
const live = new Array(steps.length + 3).fill(0);
for (const [first, last, , bytes] of rows) {
  live[first + 1] += bytes; live[last + 2] -= bytes;
}
for (let i = 1; i < live.length; i++) live[i] += live[i - 1];
let view;
function everything() { view = { x: -1, w: steps.length + 2, y: 0, h: arena * 1.03 || 1 }; }
// In the page's pixels; the canvas has the screen's, so that lines stay sharp. The lowest 16 are
// for the numbers of the steps.
let width = 0, height = 0;
const X = step => (step - view.x) / view.w * width;
const Y = byte => height - (byte - view.y) / view.h * height;
// 1, 2 or 5 times a power of ten, so that at most eight of them make the whole.
function tick(whole) {
  let unit = 1;
  while (unit * 80 <= whole) unit *= 10;
  return unit * [1, 2, 5, 10].find(n => n * unit * 8 >= whole);
}
function scales() {
  paint.font = "11px sans-serif"; paint.lineWidth = 1;
  const base = view.h > 2 << 20 ? 1 << 20 : view.h > 2 << 10 ? 1 << 10 : 1;
  const unit = tick(view.h / base) * base, each = tick(view.w);
  for (let at = Math.max(0, Math.ceil(view.y / unit) * unit); at < view.y + view.h; at += unit) {
    paint.fillStyle = color("rule"); paint.fillRect(0, Y(at), width, 1);
    paint.fillStyle = color("ink"); paint.fillText(size(at), 4, Y(at) - 3);
  }
  for (let at = Math.max(0, Math.ceil(view.x / each) * each);
    at < Math.min(view.x + view.w, steps.length); at += each) {
    paint.fillStyle = color("ink"); paint.fillRect(X(at), height, 1, 5);
    paint.fillText("step " + at, X(at) + 3, height + 12);
  }
}
function draw() {
  width = innerWidth;
  height = Math.max(200, innerHeight - canvas.offsetTop - 18);
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
    paint.fillStyle = colors[use]; paint.globalAlpha = 0.75;
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
  paint.setLineDash([4, 4]); paint.beginPath();
  paint.moveTo(X(peak + 0.5), 0); paint.lineTo(X(peak + 0.5), height); paint.stroke();
  paint.setLineDash([]);
  paint.fillStyle = color("ink"); paint.font = "11px sans-serif";
  paint.fillText("peak, " + size(live[peak + 1]), X(peak + 0.5) + 5, 11);
  paint.restore();
  scales();
}
function place(event) {
  return [view.x + event.offsetX / width * view.w,
    view.y + (height - event.offsetY) / height * view.h];
}
let drag = null;
canvas.onmousedown = event => { drag = place(event); };
window.onmouseup = () => { drag = null; };
canvas.onmousemove = event => {
  const [step, byte] = place(event);
  if (drag) {
    view.x += drag[0] - step; view.y += drag[1] - byte; draw(); return;
  }
  const hit = rows.find(row => step >= row[0] && step < row[1] + 1
    && byte >= row[2] && byte < row[2] + row[3]);
  const at = steps[Math.floor(step)];
  tip.style.display = hit || at ? "block" : "none";
  tip.textContent = (hit ? size(hit[3]) + " at " + hit[2] + ", steps " + hit[0] + " to "
    + hit[1] + "\n" + hit[5] + "\n" : "") + (at ? "step " + Math.floor(step) + ": " + at
    + ", " + size(live[Math.floor(step) + 1]) + " alive" : "");
  const box = tip.getBoundingClientRect(), below = event.clientY + 14;
  tip.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
  tip.style.top =
    Math.max(0, below + box.height > innerHeight ? below - 28 - box.height : below) + "px";
};
canvas.onmouseleave = () => { tip.style.display = "none"; };
canvas.onwheel = event => {
  event.preventDefault();
  const [step, byte] = place(event);
  // With shift some browsers turn the wheel sideways.
  const factor = (event.deltaY || event.deltaX) < 0 ? 0.8 : 1.25;
  view.x = step - (step - view.x) * factor; view.w *= factor;
  if (!event.shiftKey) { view.y = byte - (byte - view.y) * factor; view.h *= factor; }
  draw();
};
canvas.ondblclick = () => { everything(); draw(); };
window.onresize = draw;
matchMedia("(prefers-color-scheme: dark)").onchange = draw;
everything(); draw();
