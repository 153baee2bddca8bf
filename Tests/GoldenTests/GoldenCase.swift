import ABNFormats
import ABNTensors
import ABNTestSupport
import Foundation
import Testing

/// One case made by the original program, with its float64 reference.
struct GoldenCase: Sendable, CustomTestStringConvertible {
  let name: String
  let folder: String
  var testDescription: String { "\(folder)/\(name)" }

  /// All cases of a folder beside the package; none where it is absent.
  static func all(in folder: String) -> [GoldenCase] {
    guard Shared.has("oracle/\(folder)") else { return [] }
    let files =
      (try? FileManager.default.contentsOfDirectory(atPath: Shared.path("oracle/\(folder)"))) ?? []
    return files.sorted().filter { $0.hasSuffix(".npz") }.map {
      GoldenCase(name: String($0.dropLast(4)), folder: folder)
    }
  }

  func load() throws -> Arrays {
    try Arrays(NPZ.read(Shared.path("oracle/\(folder)/\(name).npz")))
  }
}

/// The arrays of a case and its description.
struct Arrays {
  let values: [String: Tensor]
  let meta: [String: Any]

  init(_ values: [String: Tensor]) throws {
    self.values = values
    let bytes: [UInt8] = values["meta"]!.elements()
    // The original wrote its errors with NaN and Infinity, which JSON has not.
    let text = String(decoding: bytes, as: UTF8.self)
      .replacing("-Infinity", with: "null").replacing("Infinity", with: "null")
      .replacing("NaN", with: "null")
    meta = try JSONSerialization.jsonObject(with: Data(text.utf8)) as! [String: Any]
  }

  subscript(name: String) -> Tensor { values[name]! }
  func string(_ key: String) -> String? { meta[key] as? String }
  func number(_ key: String) -> Double? { (meta[key] as? NSNumber)?.doubleValue }

  /// An attribute of the layer: the original keeps them in float32.
  func attribute(_ key: String) -> Double { Double(Float(number(key)!)) }

  var dtype: DType { DType(rawValue: string("dtype")!)! }

  /// What the cases call agreement: 2e-4 for float32, 1e-8 for float64, of the largest magnitude.
  var tolerance: Double { dtype == .float64 ? 1e-8 : 2e-4 }

  /// The names after a prefix: `param_fc1.w` gives `fc1.w`.
  func names(_ prefix: String) -> [String] {
    values.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }.sorted()
  }
}
