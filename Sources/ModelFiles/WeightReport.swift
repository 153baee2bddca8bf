import ABNFormats
import ABNTensors

/// What became of a file of weights: which of a model's parameters it gave.
package struct WeightReport: Sendable, Encodable {
  /// A tensor of another element type than the parameter's.
  package struct Widened: Sendable, Encodable {
    /// The tensor's name in the file.
    package let name: String
    /// Its element type there: every number is one of the parameter's type too.
    package let from: String
  }

  /// A tensor of the last layer, for another number of classes.
  package struct Replaced: Sendable, Encodable {
    /// The tensor's name in the file.
    package let name: String
    /// Its shape there.
    package let shape: [Int]
    /// The model's, with the values that training begins with.
    package let wanted: [Int]
  }

  /// The file.
  package let path: String
  /// `safetensors`, `torch`, `torch-legacy`, `pickle` or `npz`.
  package let format: String
  /// Whose names its tensors have: a case of `WeightNames`.
  package let names: String
  /// What stands before each name, the dot included: `state_dict.module.`
  package let prefix: String
  /// The model's parameters, moving statistics included.
  package let parameters: Int
  /// The classifier that the file is of, where the model is built on such a network; what stands
  /// behind it begins afresh.
  package let backbone: String?
  /// The tensors that became parameters.
  package internal(set) var matched: [String] = []
  /// Those among them that were widened.
  package internal(set) var widened: [Widened] = []
  /// Tensors that the model needs and the file does not have, under the file's names; the
  /// parameters have the values that training begins with.
  package internal(set) var missing: [String] = []
  /// Tensors beside those of the model that it has no place for.
  package internal(set) var additional: [String] = []
  /// Tensors of the last layer for another number of classes; the model's begin afresh.
  package internal(set) var replacedHead: [Replaced] = []
  /// How many tensors were left alone: counters of steps, and what does not stand under the prefix:
  /// an optimizer's state, say.
  package internal(set) var leftAlone = 0
  /// The activation of the network that the weights are of, where it is another one than the
  /// model's and the weights were taken all the same.
  package internal(set) var adaptedFrom: String?

  /// The report as a table: a line for each kind of tensors, with the first names.
  package var table: String {
    func shown(_ names: [String]) -> String {
      let most = 3
      return names.prefix(most).joined(separator: ", ")
        + (names.count > most ? " and \(names.count - most) more" : "")
    }
    var rows: [(String, String, String)] = [
      ("matched", "\(matched.count)", "of the \(parameters) tensors of the model"),
      ("missing", "\(missing.count)", shown(missing)),
      ("additional", "\(additional.count)", shown(additional)),
      (
        "replaced head", "\(replacedHead.count)",
        replacedHead.map { "\($0.name) \(Shape($0.shape)) by \(Shape($0.wanted))" }
          .joined(separator: ", ")
      ),
      (
        "widened", "\(widened.count)",
        Dictionary(grouping: widened, by: \.from).sorted { $0.key < $1.key }
          .map { "\($0.value.count) of \($0.key)" }.joined(separator: ", ")
      ),
      (
        "left alone", "\(leftAlone)",
        leftAlone > 0 ? "counters of steps, and what is no weight" : ""
      ),
    ]
    if let backbone {
      rows.append(
        (
          "afresh", "\(parameters - matched.count - missing.count)",
          "behind the backbone \(backbone)"
        ))
    }
    if let adaptedFrom {
      rows.append(("activation", "1", "weights of a network with \(adaptedFrom)"))
    }
    let title =
      "weights \(path): \(WeightsFile.Format(rawValue: format)?.title ?? format), names of \(names)"
      + (prefix.isEmpty ? "" : " behind \(quoted(prefix))")
    let width = rows.map(\.1.count).max() ?? 0
    let lines = rows.map { kind, count, what in
      let name = "  " + kind + String(repeating: " ", count: 15 - kind.count)
      let number = String(repeating: " ", count: width - count.count) + count
      return name + number + (what.isEmpty ? "" : "  " + what)
    }
    return ([title] + lines).joined(separator: "\n") + "\n"
  }
}
