import ABNFormats
import ABNTensors
import Foundation

/// What `best.json` says: the best evaluation of a run, its counts as in `metrics.json`, and its
/// best and worst predictions as pictures; of masks also the classes' colours.
enum BestEvaluation {
  /// The text of the file.
  ///
  /// - Parameter epoch: after which it was, from 1; nil: within one.
  static func text(
    _ metrics: some TaskMetrics, epoch: Int?, of data: ShownData
  ) throws -> String {
    let groups = try metrics.predictions(of: data).map { try JSON(encoding: $0) }
    let counts = try JSON(
      parsing: Array(metrics.report(names: data.classNames).utf8), as: RunFiles.metricsName)
    let colours = data.split.masks?.classes.colours.map { colour in
      JSON.string(
        "#" + (0..<3).map { String(format: "%02x", Int(colour[$0])) }.joined())
    }
    return JSON.object(
      [
        ("epoch", epoch.map { .integer($0) } ?? .null), ("metrics", counts),
        ("groups", .array(groups)),
      ] + (colours.map { [("colours", .array($0))] } ?? [])
    ).line + "\n"
  }
}
