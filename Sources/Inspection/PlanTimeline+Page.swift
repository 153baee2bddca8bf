import ABNFormats
import ABNGraph
import ABNPlanning
import ABNRuntime

extension PlanTimeline {
  /// The picture of a compiled program; it knows where its backward pass begins.
  package init(_ executable: Executable) {
    self.init(executable.lowered.planRequest, executable.plan)
    backwardStep = executable.firstStep(of: .backward)
  }

  /// The plan as the script takes it.
  ///
  /// - Parameters:
  ///   - mostBlocks: the largest so many blocks are drawn; `omitted` says how many are not.
  ///   - mostLetters: of what a block says of itself.
  package func json(mostBlocks: Int = .max, mostLetters: Int = .max) -> JSON {
    var drawn = rectangles
    if drawn.count > mostBlocks {
      let kept = rectangles.indices
        .sorted { (rectangles[$1].bytes, $0) < (rectangles[$0].bytes, $1) }.prefix(mostBlocks)
      drawn = kept.sorted().map { rectangles[$0] }
    }
    let rows = drawn.map { block in
      JSON.array([
        .integer(block.first), .integer(block.last), .integer(block.offset),
        .integer(block.bytes), .string(block.use.rawValue),
        .string(String(block.label.prefix(mostLetters))),
      ])
    }
    return .object([
      ("steps", .array(steps.map { .string($0) })), ("rows", .array(rows)),
      ("arena", .integer(arenaBytes)), ("peak", .integer(peakStep)),
      ("backward", backwardStep.map { .integer($0) } ?? .null),
      ("omitted", .integer(rectangles.count - drawn.count)),
    ])
  }

  /// One page without any other file: rectangles with their names on hover, zoom with the wheel,
  /// move by dragging, the sum of live bytes as a line, the peak and the beginning of the backward
  /// pass.
  package func html(title: String) -> String {
    func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    return HTMLPage.filled(
      text(PackageResources.timeline_html),
      [
        "title": HTMLPage.escaped(title), "page": text(PackageResources.page_css),
        "style": PlanDrawing.style, "script": PlanDrawing.script, "plan": json().line,
      ])
  }
}

/// Plans as parts of other pages.
package enum PlanDrawing {
  /// The style sheet and the script that draw plans: `drawTimeline`.
  package static var style: String {
    String(decoding: PackageResources.timeline_css, as: UTF8.self)
  }
  package static var script: String {
    String(decoding: PackageResources.timeline_js, as: UTF8.self)
  }

  /// The plan of a compiled program as the script takes it: see `PlanTimeline.json`.
  package static func json(
    of executable: Executable, mostBlocks: Int, mostLetters: Int
  ) -> JSON { PlanTimeline(executable).json(mostBlocks: mostBlocks, mostLetters: mostLetters) }
}

extension Executable {
  /// The role of a step's operator; nil for a step without one.
  func role(of step: Step) -> OperatorRole? {
    guard let program, let op = step.op, program.operators.indices.contains(op) else { return nil }
    return program.operators[op].role
  }

  /// The first step of a role; nil where there is none.
  func firstStep(of role: OperatorRole) -> Int? {
    lowered.steps.indices.first { self.role(of: lowered.steps[$0]) == role }
  }
}
