import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

extension Activation {
  /// The activation, where the layer's own attribute says nothing else.
  ///
  /// - Throws: `ABNError(.attribute)` for two numbers, and for one that is not finite.
  func agreeing(with actAlpha: Double?) throws -> Activation {
    if let actAlpha {
      guard actAlpha.isFinite else {
        throw ABNError(.attribute, "actAlpha", got: "\(actAlpha)", wanted: "a finite number")
      }
      if let alpha, alpha != actAlpha {
        throw ABNError(
          .attribute, "actAlpha", got: "\(actAlpha) beside act \(self)", wanted: "one number",
          fix: "Leave actAlpha out: the activation says \(alpha).")
      }
    }
    try requireFinite()
    return self
  }
}

/// The activation of a name that was given to a layer; an error has the layer's line.
func named(
  _ act: String, alpha: Double? = nil, _ kind: String, _ name: String?, _ file: StaticString,
  _ line: UInt
) throws -> Activation {
  do {
    if let alpha, !alpha.isFinite {
      throw ABNError(.attribute, "actAlpha", got: "\(alpha)", wanted: "a finite number")
    }
    return try Activation(named: act, alpha: alpha)
  } catch let error as ABNError {
    throw error.located(
      in: name.map { "\(kind) \(quoted($0))" } ?? kind, at: SourceLocation(fileID: file, line: line)
    )
  }
}
