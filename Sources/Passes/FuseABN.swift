import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// The result of putting the batch normalizations of a program in place, with a line for each.
public struct FusedABN: Sendable, CustomStringConvertible {
  /// What became of one batch normalization.
  public enum Outcome: Sendable, Hashable {
    /// Normalization and activation are one operator: z = act(y) stands over x.
    case fused(Activation)
    /// The normalization stores y over x; an activation that reads y stays an operator of its own.
    case inPlace(Reason)
    /// Untouched.
    case left(Reason)
  }

  /// Why an activation is not part of the layer, or why the layer is as it was.
  public enum Reason: Sendable, Hashable {
    /// No activation reads y.
    case noActivation
    /// z does not determine y: the gradient is computed from the stored y.
    case notInvertible(Activation)
    /// Something else needs y: the operators, by kind and layer.
    case otherReaders([String])
    /// The caller asked for y.
    case kept
    /// Gradients end at y; they would go on in a layer without it.
    case stopsGradient
    /// prelu has other slopes than the one that the layer takes.
    case slopes(Shape)
    /// The slopes of prelu are computed or changed after the normalization.
    case slopesComeLater
    /// The program has a backward pass, which reads x.
    case differentiated
  }

  /// A batch normalization of the program.
  public struct Entry: Sendable, Hashable {
    /// Its layer's name.
    public let layer: String
    /// Its layer's line.
    public let source: SourceLocation
    /// What became of it.
    public let outcome: Outcome
  }

  /// The program with the layers in place; the old one where nothing was changed.
  public let program: Program
  /// One entry for each batch normalization, in the program's order.
  public let entries: [Entry]

  /// A summary, then a line for each batch normalization.
  public var description: String {
    func count(_ matches: (Outcome) -> Bool) -> Int { entries.count { matches($0.outcome) } }
    let fused = count { if case .fused = $0 { true } else { false } }
    let left = count { if case .left = $0 { true } else { false } }
    let head =
      "\(entries.count) batch_norm: \(fused) fused with an activation, "
      + "\(entries.count - fused - left) in place without, \(left) left"
    return ([head] + entries.map { "  \($0)" }).joined(separator: "\n")
  }
}

extension FusedABN.Entry: CustomStringConvertible {
  public var description: String { "\(layer) (\(source)): \(outcome)" }
}

extension FusedABN.Outcome: CustomStringConvertible {
  public var description: String {
    switch self {
    case .fused(let activation): "fused with \(activation.name), z over x"
    case .inPlace(let reason): "in place, y over x; \(reason)"
    case .left(let reason): "left; \(reason)"
    }
  }
}

extension FusedABN.Reason: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noActivation: "no activation reads y"
    case .notInvertible(let activation): "\(activation) cannot be inverted"
    case .otherReaders(let readers): "y is also read by \(readers.joined(separator: ", "))"
    case .kept: "y is to be kept"
    case .stopsGradient: "gradients end at y"
    case .slopes(let shape): "prelu has slopes of shape \(shape), the layer takes [1]"
    case .slopesComeLater: "the slopes of prelu are made or changed after the normalization"
    case .differentiated: "the program has a backward pass: fuse before minimize"
    }
  }
}

extension Program {
  /// Turns every `batch_norm` into the in-place layer, with the activation that follows it where
  /// that is exact: the operators that `inplaceABN` appends.
  ///
  /// An activation becomes part of the layer if z determines y (identity, prelu of one slope,
  /// leaky_relu and elu with alpha > 0) and nothing but the activation needs y. Otherwise y is
  /// stored over x, and activations that read y take their gradient from it. Parameters, moving
  /// statistics and outputs are the same variables as before. Both forms of the program compute the
  /// same values; gradients agree up to rounding.
  ///
  /// - Parameter kept: variables that must stay: those that will be fetched.
  /// - Returns: the program, which fetches and feeds as before but for the y that an activation was
  ///   fused with, and what became of each `batch_norm`. With a backward pass everything is left.
  public func fusedABN(keeping kept: [Variable] = []) throws -> FusedABN {
    var operators = operators
    var readers: [VariableID: [Int]] = [:]
    for (index, op) in operators.enumerated() {
      for id in Set(op.inputs) { readers[id, default: []].append(index) }
    }
    let isDifferentiated = operators.contains { $0.role == .backward }
    let keptIDs = Set(kept.map(\.id))
    var entries: [FusedABN.Entry] = []
    var gone = Set<Int>()
    for (index, op) in operators.enumerated() {
      guard let kind = op.kind as? BatchNorm else { continue }
      let outcome: FusedABN.Outcome
      if isDifferentiated {
        outcome = .left(.differentiated)
      } else {
        let y = op.outputs[0]
        let own = readers[y] ?? []
        let follower = own.lazy.compactMap { at in
          Follower(operators[at], at: at, reading: y)
        }.first
        let reason = follower.map { refusal(of: $0, after: index, own, keptIDs) } ?? .noActivation
        let folded = reason == nil ? follower : nil
        operators[index].kind = try InPlaceActivatedBatchNorm(
          kind.norm, activation: folded?.activation ?? .identity)
        if let folded {
          if let slopes = folded.slopes { operators[index].inputs.insert(slopes, at: 5) }
          operators[index].outputs[0] = operators[folded.index].outputs[0]
          gone.insert(folded.index)
          outcome = .fused(folded.activation)
        } else {
          // y is stored, so that z need not be: gradients of activations read y.
          for at in own {
            guard let activate = operators[at].kind as? Activate else { continue }
            operators[at].kind = try Activate(activate.function, gradientReads: .input)
          }
          outcome = .inPlace(reason!)
        }
      }
      entries.append(
        FusedABN.Entry(layer: op.layer, source: op.source, outcome: outcome))
    }
    guard !isDifferentiated, !entries.isEmpty else {
      return FusedABN(program: self, entries: entries)
    }
    let left = operators.enumerated().filter { !gone.contains($0.offset) }.map(\.element)
    return FusedABN(program: with(operators: left), entries: entries)
  }

  /// Why the activation does not become part of the normalization; nil where it does.
  ///
  /// - Parameter readers: where y is read.
  private func refusal(
    of follower: Follower, after index: Int, _ readers: [Int], _ kept: Set<VariableID>
  ) -> FusedABN.Reason? {
    let y = self[operators[index].outputs[0]]
    guard follower.activation.isInvertible else { return .notInvertible(follower.activation) }
    let others = readers.filter { $0 != follower.index }.map {
      "\(operators[$0].kindName) \(quoted(operators[$0].layer))"
    }
    if !others.isEmpty { return .otherReaders(others) }
    if kept.contains(y.id) { return .kept }
    if y.stopsGradient { return .stopsGradient }
    if let slopes = follower.slopes {
      if self[slopes].shape != [1] { return .slopes(self[slopes].shape) }
      // The layer reads them where the normalization stands.
      let comesLater = operators[index..<follower.index].contains { $0.outputs.contains(slopes) }
      if comesLater { return .slopesComeLater }
    }
    return nil
  }
}

/// An activation that reads a variable, and nothing else but slopes.
private struct Follower {
  let index: Int
  let activation: Activation
  let slopes: VariableID?

  init?(_ op: Operator, at index: Int, reading y: VariableID) {
    guard op.role == .forward, op.inputs[0] == y,
      !op.inputs.dropFirst().contains(y)
    else { return nil }
    self.index = index
    switch op.kind {
    case let kind as Activate:
      (activation, slopes) = (kind.function, nil)
    case is PReLU:
      (activation, slopes) = (.prelu, op.inputs[1])
    default: return nil
    }
  }
}

extension ProgramBuilder {
  /// Puts the batch normalizations of the main program in place: see `Program.fusedABN`. To be
  /// called after the network is built and before `minimize`.
  @discardableResult
  public func fuseABN(keeping kept: [Variable] = []) throws -> FusedABN {
    try replaceMain { program in
      let result = try program.fusedABN(keeping: kept)
      program = result.program
      return result
    }
  }
}
