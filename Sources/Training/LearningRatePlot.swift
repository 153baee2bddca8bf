import Foundation

/// The loss over the learning rate as an SVG: light or dark, as whoever looks at it has it.
package struct LearningRatePlot: Sendable {
  private static let size = (width: 760.0, height: 420.0)
  private static let frame = (left: 64.0, top: 56.0, right: 20.0, bottom: 52.0)
  private let finder: LearningRateFinder

  /// The plot of a search, with at least one point.
  package init(_ finder: LearningRateFinder) { self.finder = finder }

  private static let style = """
    .ground { fill: #ffffff } text { fill: #24292f } .quiet { fill: #57606a }
    .axis { stroke: #8c959f; fill: none } .grid { stroke: #d8dee4 }
    .loss { fill: none; stroke: #8fb8de; stroke-width: 1 }
    .smoothed { fill: none; stroke: #1f6fb5; stroke-width: 2.2 }
    .mark { stroke: #c4561b; stroke-dasharray: 5 4; fill: none } .dot { fill: #c4561b }
    .rate { fill: #a8450f; font-weight: bold }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
      .axis { stroke: #6e7681 } .grid { stroke: #262c34 }
      .loss { stroke: #35597c } .smoothed { stroke: #6cb2f2 }
      .mark { stroke: #f0935a } .dot { fill: #f0935a } .rate { fill: #f0935a }
    }
    """

  /// The file's text.
  package var svg: String {
    let (width, height) = Self.size
    let title =
      finder.suggestion.map {
        "The loss falls most steeply at a learning rate of \(Self.number($0))"
      } ?? "The loss does not fall: no learning rate can be suggested"
    let ended =
      finder.hasDiverged
      ? "stopped where the loss grew beyond \(Self.number(finder.divergence)) times its least"
      : "\(finder.points.count) steps"
    var lines = [
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 \(Self.text(width)) "
        + "\(Self.text(height))' width='\(Self.text(width))' height='\(Self.text(height))' "
        + "font-family='Helvetica, Arial, sans-serif' font-size='13' role='img' "
        + "aria-label='\(title).'>",
      "<style>\n\(Self.style)\n</style>",
      "<rect class='ground' width='\(Self.text(width))' height='\(Self.text(height))'/>",
      label(Self.frame.left, 24, title, anchor: "start", size: 15),
      label(
        Self.frame.left, 43, "Loss over the rate, which grows in each step; \(ended).",
        "quiet", anchor: "start"),
    ]
    lines += rateAxis + lossAxis + curves + mark
    lines.append("</svg>")
    return lines.joined(separator: "\n") + "\n"
  }

  // MARK: Scales

  private var plot: (left: Double, top: Double, right: Double, bottom: Double) {
    (
      Self.frame.left, Self.frame.top, Self.size.width - Self.frame.right,
      Self.size.height - Self.frame.bottom
    )
  }

  /// The losses that are shown: what grows beyond them at the end would press the rest flat.
  private var losses: ClosedRange<Double> {
    let smoothed = finder.points.map(\.smoothed)
    guard let least = finder.points.map({ min($0.loss, $0.smoothed) }).min(),
      let largest = smoothed.max(), let first = smoothed.first
    else { return 0...1 }
    let high = min(largest, max(first, least) + 0.25 * max(first - least, 0.1 * abs(first)))
    let pad = max(0.06 * (high - least), 1e-6 * max(abs(high), 1e-30))
    return least - pad...max(high, least) + pad
  }

  private func x(_ rate: Double) -> Double {
    let share = log(rate / finder.lowest) / log(finder.highest / finder.lowest)
    return plot.left + share * (plot.right - plot.left)
  }

  private func y(_ loss: Double) -> Double {
    let range = losses
    let share = (loss - range.lowerBound) / (range.upperBound - range.lowerBound)
    return plot.bottom - share * (plot.bottom - plot.top)
  }

  // MARK: Parts

  private var rateAxis: [String] {
    let exponents =
      Int(log10(finder.lowest).rounded(.up))...Int(log10(finder.highest).rounded(.down))
    let step = max(1, (exponents.count + 7) / 8)
    return exponents.filter { $0 % step == 0 }.flatMap { exponent in
      let at = x(pow(10, Double(exponent)))
      return [
        line(at, plot.top, at, plot.bottom, "grid"),
        label(
          at, plot.bottom + 18, exponent == 0 ? "1" : exponent == 1 ? "10" : "1e\(exponent)",
          "quiet"),
      ]
    } + [
      line(plot.left, plot.bottom, plot.right, plot.bottom, "axis"),
      label((plot.left + plot.right) / 2, plot.bottom + 38, "learning rate", "quiet"),
    ]
  }

  private var lossAxis: [String] {
    let range = losses
    let rough = (range.upperBound - range.lowerBound) / 5
    let power = pow(10, log10(rough).rounded(.down))
    let step = power * ([1, 2, 5].first { $0 * power >= rough } ?? 10)
    let first = Int((range.lowerBound / step).rounded(.up))
    let last = Int((range.upperBound / step).rounded(.down))
    guard first <= last, last - first < 20 else { return [] }
    return (first...last).flatMap { number in
      let value = Double(number) * step
      return [
        line(plot.left, y(value), plot.right, y(value), "grid"),
        label(plot.left - 8, y(value) + 4, Self.number(value), "quiet", anchor: "end"),
      ]
    }
  }

  private var curves: [String] {
    func path(_ value: (LearningRateFinder.Point) -> Double) -> String {
      finder.points.enumerated().map { index, point in
        // Far beyond the frame is as good as infinity, and what viewers can draw.
        let height = min(max(y(value(point)), -1e4), 1e4)
        return "\(index == 0 ? "M" : "L")\(Self.text(x(point.rate))) \(Self.text(height))"
      }.joined(separator: " ")
    }
    let (left, top) = (Self.text(plot.left), Self.text(plot.top))
    let (width, height) = (
      Self.text(plot.right - plot.left), Self.text(plot.bottom - plot.top)
    )
    let keys = [("smoothed", "smoothed"), ("loss", "each step")].enumerated().flatMap { row, key in
      // Below the start of the curves, which begin high.
      let at = plot.bottom - 28 + 18 * Double(row)
      return [
        line(plot.left + 14, at - 4, plot.left + 40, at - 4, key.0),
        label(plot.left + 48, at, key.1, anchor: "start"),
      ]
    }
    return [
      "<clipPath id='frame'><rect x='\(left)' y='\(top)' width='\(width)' "
        + "height='\(height)'/></clipPath>",
      "<g clip-path='url(#frame)'>",
      "<path class='loss' d='\(path(\.loss))'/>",
      "<path class='smoothed' d='\(path(\.smoothed))'/>",
      "</g>",
    ] + keys
  }

  private var mark: [String] {
    guard let point = finder.steepest else { return [] }
    let (at, height) = (x(point.rate), y(point.smoothed))
    let isLeft = at > (plot.left + plot.right) / 2
    return [
      line(at, plot.top, at, plot.bottom, "mark"),
      "<circle class='dot' cx='\(Self.text(at))' cy='\(Self.text(height))' r='4.5'/>",
      label(
        at + (isLeft ? -8 : 8), plot.bottom - 50, Self.number(point.rate), "rate",
        anchor: isLeft ? "end" : "start"),
    ]
  }

  private func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String
  ) -> String {
    "<path class='\(style)' d='M\(Self.text(x1)) \(Self.text(y1)) "
      + "L\(Self.text(x2)) \(Self.text(y2))'/>"
  }

  private func label(
    _ x: Double, _ y: Double, _ text: String, _ style: String = "", anchor: String = "middle",
    size: Int? = nil
  ) -> String {
    "<text x='\(Self.text(x))' y='\(Self.text(y))' text-anchor='\(anchor)'"
      + (style.isEmpty ? "" : " class='\(style)'")
      + (size.map { " font-size='\($0)'" } ?? "") + ">\(text)</text>"
  }

  private static func text(_ value: Double) -> String { String(format: "%.1f", value) }

  /// With three digits that count.
  private static func number(_ value: Double) -> String { String(format: "%.3g", value) }
}
