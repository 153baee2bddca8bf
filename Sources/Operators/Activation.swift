import ABNActivations
import ABNTensors

extension Activation {
  /// The activation of a name: in any case, with `_` or `-`; "", "none" and "linear" are the
  /// identity too.
  ///
  /// - Parameter alpha: its number, where it has one; nil: the one that it has unless told.
  /// - Throws: `ABNError(.attribute)` that names the nearest.
  public init(named name: String, alpha: Double? = nil) throws {
    if let known = Activation(name: name, alpha: alpha) {
      self = known
      return
    }
    throw ABNError(
      unknown: name, "activation", names: Self.all.map(\.name), category: .attribute)
  }

  /// - Throws: `ABNError(.attribute)` for a number that is not finite.
  package func requireFinite() throws {
    guard let alpha, !alpha.isFinite else { return }
    throw ABNError(.attribute, "alpha of \(name)", got: "\(alpha)", wanted: "a finite number")
  }

  /// The number as programs print it.
  var printed: [(name: String, value: String)] { alpha.map { [("alpha", "\($0)")] } ?? [] }
}
