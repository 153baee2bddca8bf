import ABNGraph
import ABNModels
import ABNOperators
import ABNTensors

/// Which parameters of a network stay as they are in training.
package struct Freezing: Sendable {
  /// The parameters that do not change, in the order of the program.
  package let frozen: [Variable]
  /// Those that an optimizer may change: what `Optimizer.minimize(parameters:)` takes.
  package let trained: [Variable]

  /// The parameters that patterns name.
  ///
  /// A pattern is a name or the beginning of one up to a dot, or it has `*` for any letters and `?`
  /// for one: `conv2d_0`, `inplace_abn_*`, `layer1`. Names are those of the program and, where the
  /// model has others in PyTorch, those too.
  ///
  /// - Throws: `ABNError(.name)` with the nearest for a pattern that names no parameter.
  package init(_ patterns: [String], of program: Program, model: Model) throws {
    var names: [(name: String, id: VariableID)] = program.parameters.map { ($0.name, $0.id) }
    if let torch = try? NamedWeight.all(of: model, program, .torch) {
      names += torch.map { ($0.name, $0.variable.id) }
    }
    var found: Set<VariableID> = []
    for pattern in patterns {
      let matches = names.filter { Self.matches($0.name, pattern) }
      guard !matches.isEmpty else { throw Self.unknown(pattern, names.map(\.name)) }
      found.formUnion(matches.map(\.id))
    }
    frozen = program.parameters.filter { found.contains($0.id) }
    trained = program.parameters.filter { !found.contains($0.id) }
  }

  private static func unknown(_ pattern: String, _ names: [String]) -> ABNError {
    // Layers, too: what stands before the dots of a name.
    var known = names
    for name in names {
      for (place, letter) in zip(name.indices, name) where letter == "." {
        known.append(String(name[..<place]))
      }
    }
    let some = names.prefix(3).map { quoted($0) }.joined(separator: ", ")
    return ABNError(
      .name, "freeze pattern", got: quoted(pattern),
      wanted: "a name, the beginning of one up to a dot, or one with * and ? in it: \(some), ...",
      fix: didYouMean(pattern, in: known, otherwise: "It names none of the parameters."))
  }

  /// Whether a pattern names a parameter.
  static func matches(_ name: String, _ pattern: String) -> Bool {
    guard pattern.contains("*") || pattern.contains("?") else {
      return name == pattern || name.hasPrefix(pattern.hasSuffix(".") ? pattern : pattern + ".")
    }
    let (name, pattern) = (Array(name.utf8), Array(pattern.utf8))
    let (star, any) = (UInt8(ascii: "*"), UInt8(ascii: "?"))
    // The last star, and how much of the name it stands for so far.
    var (at, place, lastStar, taken) = (0, 0, -1, 0)
    while place < name.count {
      if at < pattern.count, pattern[at] == star {
        (lastStar, taken) = (at, place)
        at += 1
      } else if at < pattern.count, pattern[at] == any || pattern[at] == name[place] {
        at += 1
        place += 1
      } else if lastStar >= 0 {
        taken += 1
        (at, place) = (lastStar + 1, taken)
      } else {
        return false
      }
    }
    return pattern[at...].allSatisfy { $0 == star }
  }
}

extension ProgramBuilder {
  /// Freezes parameters of the main program, before an optimizer appends its updates:
  ///
  ///     let trained = try ProgramBuilder.current.freeze(["layer1"], model: model).trained
  ///     try optimizer.minimize(loss, parameters: trained)
  ///
  /// A normalization whose scale and bias are both frozen normalizes with its moving statistics in
  /// training too, as it does in evaluation, and they stay as they are. Otherwise small batches of
  /// new pictures would move them under weights that cannot follow, and the frozen layers would
  /// give something else in training than afterwards. Where scale or bias is trained, the batch's
  /// statistics are used and the moving ones follow them, whatever is frozen around the layer.
  ///
  /// - Throws: `ABNError(.name)` for a pattern that names no parameter.
  package func freeze(_ patterns: [String], model: Model) throws -> Freezing {
    let freezing = try Freezing(patterns, of: main, model: model)
    let frozen = Set(freezing.frozen.map(\.id))
    try replaceMain { program in
      program = program.with(
        operators: try program.operators.map { op in
          // x, scale, bias, ...
          guard op.inputs.count >= 5, frozen.contains(op.inputs[1]), frozen.contains(op.inputs[2])
          else { return op }
          return try op.withMovingStatistics()
        })
    }
    return freezing
  }
}

extension Operator {
  /// A normalization as it is with moving statistics in training; any other operator as it is.
  fileprivate func withMovingStatistics() throws -> Operator {
    var norm: NormalizationAttributes
    switch kind {
    case let kind as BatchNorm: norm = kind.norm
    case let kind as InPlaceActivatedBatchNorm: norm = kind.norm
    default: return self
    }
    guard norm.usesBatchStatistics else { return self }
    let hadMomentum = norm.hasMomentumInput
    norm.useGlobalStats = true
    norm.hasMomentumInput = false
    var copy = self
    if kind is BatchNorm {
      copy.kind = BatchNorm(norm)
    } else if let kind = kind as? InPlaceActivatedBatchNorm {
      copy.kind = try InPlaceActivatedBatchNorm(norm, activation: kind.activation)
    }
    if hadMomentum { copy.inputs.removeLast() }
    // The result and the saved statistics; the moving ones are no outputs any more.
    copy.outputs = Array(outputs.prefix(2))
    return copy
  }
}
