import ABNTensors
import CDNNL

/// oneDNN as this package uses it: one CPU engine and one stream for the process.
///
/// Primitives run on the OpenMP team; a primitive's scratchpad is sized for the team's size at the
/// moment it is made, so the team must not grow afterwards.
package enum DNNL {
  /// The version of the library that runs, as in `2.6.3`.
  package static let versionString: String = {
    var running = [Int32](repeating: 0, count: 3)
    abn_dnnl_version(&running, nil)
    return running.map(String.init).joined(separator: ".")
  }()

  /// Throws what a status says; nothing for success.
  @inline(__always)
  package static func check(
    _ status: abn_dnnl_status, _ what: @autoclosure () -> String,
    _ detail: @autoclosure () -> String
  ) throws(ABNError) {
    if status != ABN_DNNL_SUCCESS { throw failure(status, what(), detail()) }
  }

  /// The error for a status that is not success.
  package static func failure(_ status: abn_dnnl_status, _ what: String, _ detail: String)
    -> ABNError
  {
    if status == ABN_DNNL_NO_LIBRARY {
      var compiled = [Int32](repeating: 0, count: 3)
      abn_dnnl_version(nil, &compiled)
      return ABNError(
        .system, "oneDNN", got: abn_dnnl_load_failure().map { String(cString: $0) } ?? "no library",
        wanted: "libdnnl.so.\(compiled[0]), the version that this program was built with",
        fix: "Install it (libdnnl\(compiled[0]) on Debian, libdnnl-dev to build), or build again.")
    }
    let name = String(cString: abn_dnnl_status_name(status))
    return ABNError(
      .system, "oneDNN \(versionString): \(what)", got: "status \(status) (\(name)) for \(detail)",
      wanted: "shapes, element types and layouts that the library supports on this processor")
  }
}

/// How a tensor of logical order N, C, spatial (weights: O, I, spatial or G, O, I, spatial) is
/// asked to lie in memory.
package enum DNNLFormat: Hashable, Sendable {
  /// The primitive chooses.
  case any
  /// Row-major in logical order, ranks 1 to 6.
  case plain
  /// N, spatial, C; ranks 2 to 5.
  case channelsLast
  /// N, C/b, spatial, b with channels padded to a multiple of b, 8 or 16; ranks 3 to 5.
  case blocked(Int)
  /// Elements to the next index along each logical axis.
  case strides([Int])
}

/// How a descriptor's tensor lies in memory.
package enum DNNLLayout: Hashable, Sendable {
  /// Row-major in logical order.
  case plain
  /// N, spatial, C.
  case channelsLast
  /// N, C/8, spatial, 8.
  case blocked8
  /// N, C/16, spatial, 16.
  case blocked16
  /// Anything else, a choice left open included.
  case other

  /// The format that makes this layout; nil for `.other`.
  package var format: DNNLFormat? {
    switch self {
    case .plain: .plain
    case .channelsLast: .channelsLast
    case .blocked8: .blocked(8)
    case .blocked16: .blocked(16)
    case .other: nil
    }
  }
}
