/// A plan as a picture: steps from left to right, addresses from bottom to top, one rectangle for
/// each block of bytes.
public struct PlanTimeline: Sendable {
  /// One block during its life.
  public struct Rectangle: Sendable {
    /// The names of the buffers that stand there, and what asked for them.
    public let label: String
    /// What the first of them is for.
    public let use: BufferUse
    public let offset: Int
    public let bytes: Int
    /// The first and last step; -1 is before the first.
    public let first: Int
    public let last: Int
  }

  public let rectangles: [Rectangle]
  /// The names of the steps.
  public let steps: [String]
  public let arenaBytes: Int
  /// The step at which most bytes are alive.
  public let peakStep: Int

  /// The picture of a request and its plan. Blocks of buffers that the request has not are left out.
  public init(_ request: PlanRequest, _ plan: MemoryPlan) {
    rectangles = plan.blocks.compactMap { block in
      let buffers = block.buffers.filter { request.buffers.indices.contains($0.index) }
        .map { request.buffers[$0.index] }
      guard !buffers.isEmpty else { return nil }
      return Rectangle(
        label: buffers.map { $0.origin.isEmpty ? $0.name : "\($0.name): \($0.origin)" }
          .joined(separator: "\n"),
        use: buffers[0].use, offset: block.offset, bytes: block.bytes,
        first: block.life.lowerBound, last: block.life.upperBound)
    }
    steps = request.steps.map(\.name)
    arenaBytes = plan.arenaBytes
    peakStep = plan.peakStep
  }

  /// One page without any other file: rectangles with their names on hover, zoom with the wheel,
  /// move by dragging, the sum of live bytes as a line.
  public func html(title: String) -> String {
    let rows = rectangles.map {
      "[\($0.first),\($0.last),\($0.offset),\($0.bytes),\"\($0.use.rawValue)\",\(quoted($0.label))]"
    }
    return Self.page
      .replacing("{{title}}", with: escaped(title))
      .replacing("{{steps}}", with: steps.map(quoted).joined(separator: ","))
      .replacing("{{rows}}", with: rows.joined(separator: ",\n"))
      .replacing("{{arena}}", with: "\(arenaBytes)")
      .replacing("{{peak}}", with: "\(peakStep)")
  }

  private func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
  }

  private static let page = """
    <!doctype html>
    <html lang="en"><head><meta charset="utf-8"><title>{{title}}</title>
    <style>
    body { font: 14px sans-serif; margin: 0; background: #fff; color: #222; }
    header { padding: 8px 12px; }
    canvas { display: block; cursor: grab; }
    #tip { position: fixed; pointer-events: none; background: #222; color: #fff; padding: 6px 8px;
      border-radius: 4px; white-space: pre-wrap; max-width: 60ch; display: none; font-size: 12px; }
    .key { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 14px; }
    </style></head><body>
    <header><b>{{title}}</b> <span id="sums"></span><span id="legend"></span><br>
    Steps run from left to right, addresses from bottom to top. Wheel: zoom; with shift: steps only.
    Drag: move. Double click: everything.</header>
    <canvas id="view"></canvas><div id="tip"></div>
    <script>
    "use strict";
    const steps = [{{steps}}], rows = [{{rows}}], arena = {{arena}}, peak = {{peak}};
    const colors = { feed: "#8c6bb1", activation: "#3182bd", gradient: "#e6550d",
      scratch: "#999999", persistent: "#31a354" };
    const canvas = document.getElementById("view"), tip = document.getElementById("tip");
    const paint = canvas.getContext("2d");
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
        paint.fillStyle = "rgba(0, 0, 0, 0.12)"; paint.fillRect(0, Y(at), width, 1);
        paint.fillStyle = "#222"; paint.fillText(size(at), 4, Y(at) - 3);
      }
      for (let at = Math.max(0, Math.ceil(view.x / each) * each);
        at < Math.min(view.x + view.w, steps.length); at += each) {
        paint.fillStyle = "#222"; paint.fillRect(X(at), height, 1, 5);
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
      for (const [first, last, offset, bytes, use, label] of rows) {
        const x = X(first), y = Y(offset + bytes);
        const w = Math.max(1, X(last + 1) - x), h = Math.max(1, Y(offset) - y);
        if (x > width || x + w < 0 || y > height || y + h < 0) continue;
        paint.fillStyle = colors[use]; paint.globalAlpha = 0.75;
        paint.fillRect(x, y, w, h);
        paint.globalAlpha = 1;
        if (w > 3 && h > 3) { paint.strokeStyle = "#fff"; paint.strokeRect(x, y, w, h); }
        const name = label.split("\\n")[0].split(": ")[0], from = Math.max(x, 0);
        if (h > 13 && paint.measureText(name).width < Math.min(x + w, width) - from - 76) {
          paint.fillStyle = "#fff"; paint.fillText(name, from + 70, y + h / 2 + 4);
        }
      }
      paint.strokeStyle = "#000"; paint.beginPath();
      for (let i = 0; i < live.length - 1; i++) {
        paint.lineTo(X(i - 1), Y(live[i])); paint.lineTo(X(i), Y(live[i]));
      }
      paint.stroke();
      paint.setLineDash([4, 4]); paint.beginPath();
      paint.moveTo(X(peak + 0.5), 0); paint.lineTo(X(peak + 0.5), height); paint.stroke();
      paint.setLineDash([]);
      paint.fillStyle = "#222"; paint.font = "11px sans-serif";
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
        + hit[1] + "\\n" + hit[5] + "\\n" : "") + (at ? "step " + Math.floor(step) + ": " + at
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
    everything(); draw();
    </script></body></html>
    """
}
