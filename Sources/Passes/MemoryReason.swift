import ABNGraph
import ABNTensors

/// An operator as reasons name it.
package struct NamedOperator: Hashable, Sendable, CustomStringConvertible {
  /// The name of its kind.
  package let kind: String
  /// Its layer.
  package let layer: String

  /// An operator of a kind in a layer.
  package init(kind: String, layer: String) { (self.kind, self.layer) = (kind, layer) }

  /// As conv2d_weight_grad "conv2d_3".
  package var description: String { "\(kind) \(quoted(layer))" }
}

/// Why a pass decided as it did about the bytes of a variable; its description is the text of
/// reports.
package enum MemoryReason: DecisionReason {
  /// More operators read it than are looked at one by one.
  case manyReaders(limit: Int)
  /// The caller fetches it.
  case isFetched
  /// Somebody reads the same bytes under another shape.
  case isViewed(by: NamedOperator)
  /// A reader of the forward pass cannot be moved before the layer.
  case readerNeedsResult(NamedOperator)
  /// A gradient takes no restored value.
  case needsExactBits(NamedOperator)
  /// Nothing would be there to restore it from.
  case outputIsNotKept
  /// The gradient cannot wait until the output may be undone.
  case mustComeBefore(NamedOperator, reader: NamedOperator)
  /// A reader runs earlier now, with `others` operators that it needs.
  case runsBefore(NamedOperator, others: Int)
  /// Overwritten by an operator of a kind, computed back for others, of which `delayed` wait for
  /// it.
  case computedBack(over: String, for: [NamedOperator], delayed: Int)
  /// Bits for the sign are enough.
  case signOnly(bytes: Int)
  /// Computed again from a variable that is kept.
  case computedAgain(for: NamedOperator, from: String)
  /// A term of the sum of a layer: computed back from the sum and the other term.
  case termOfSum(layer: String, sum: String, other: String, for: NamedOperator)
  /// A layer and the activation behind it in one.
  case makesBoth(NamedOperator)
  /// Two gradients in one.
  case goesBackThroughBoth(NamedOperator)
  /// The parts of a sum of gradients are added where they are read.
  case addsParts(NamedOperator)
  /// The weights of a convolution hold the normalization.
  case inWeights(of: NamedOperator)
  /// A convolution adds its result to a variable.
  case addsTo(NamedOperator, variable: String)
  /// A convolution applies the activation of this name.
  case applies(NamedOperator, activation: String)

  package var description: String {
    switch self {
    case .manyReaders(let limit): "more than \(limit) operators read it"
    case .isFetched: "it is fetched"
    case .isViewed(let reader): "\(reader) reads the same bytes under another shape"
    case .readerNeedsResult(let reader):
      "\(reader) reads it after the layer and needs the layer's result"
    case .needsExactBits(let reader): "\(reader) needs its exact bits"
    case .outputIsNotKept: "nothing keeps the layer's output"
    case .mustComeBefore(let first, let reader):
      "\(first) must come before \(reader), which reads the output"
    case .runsBefore(let reader, let others):
      "\(reader) reads it; runs before the layer now"
        + (others > 0 ? ", with \(others) operators that it needs" : "")
    case .computedBack(let kind, let readers, let delayed):
      "overwritten by \(kind), computed back for "
        + readers.map(\.description).joined(separator: ", ")
        + (delayed == 0 ? "" : ", \(delayed) of which come later for it")
    case .signOnly(let bytes): "its gradient asks for the sign only: \(bytes) bytes of bits"
    case .computedAgain(let reader, let source):
      "\(reader) reads it; computed again from \(source), which is kept"
    case .termOfSum(let layer, let sum, let other, let reader):
      "a term of the sum \(quoted(layer)): computed back from \(sum) and \(other) for \(reader)"
    case .makesBoth(let layer): "\(layer) makes both at once"
    case .goesBackThroughBoth(let gradient): "\(gradient) goes back through both at once"
    case .addsParts(let gradient): "\(gradient) adds its two parts as it reads them"
    case .inWeights(let conv): "the normalization is in the weights of \(conv)"
    case .addsTo(let conv, let variable): "\(conv) adds to \(variable)"
    case .applies(let conv, let activation): "\(conv) applies \(activation)"
    }
  }
}
