import Foundation
import Testing

@testable import ABNKernels

/// The single-layer cases of the original program, and those in which it is wrong, through every
/// instruction set. They lie beside the package; where they do not, the suite says so and is skipped.
@Suite struct GoldenTests {
  static var folder: String {
    if let given = ProcessInfo.processInfo.environment["ABN_SHARED"] { return given + "/oracle" }
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    return root.appendingPathComponent("shared/oracle").path
  }

  static let files: [String] = {
    let found = ["golden", "truth"].flatMap { part in
      ((try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(part)")) ?? [])
        .filter { $0.hasSuffix(".npz") }.sorted().map { "\(part)/\($0)" }
    }
    if found.isEmpty { print("skipped: no golden cases beside the package (set ABN_SHARED)") }
    return found
  }()

  @Test(arguments: files)
  func matchesTheTruth(_ file: String) throws {
    let archive = try NumpyArchive(path: "\(Self.folder)/\(file)")
    // Cases of several layers belong to the engine's tests.
    guard archive.entries["gamma"] != nil, archive.entries["rm"] != nil else { return }
    let meta = try archive.meta()
    let layout = try #require(meta["layout"] as? String)
    let type = try #require(meta["dtype"] as? String)
    let mode = try #require(meta["mode"] as? String)
    // Attributes are float32 in the original.
    func attribute(_ name: String) throws -> Double {
      Double(Float(try #require(meta[name] as? Double)))
    }
    let alpha = try attribute("alpha")
    let activation: ABNActivation =
      switch meta["act"] as? String {
      case "leaky_relu": .leakyReLU(alpha: alpha)
      case "elu": .elu(alpha: alpha)
      default: .identity
      }
    let shape = try #require(archive.entries["x"]).shape
    let isLast = layout == "NHWC"
    let geometry = try ABNGeometry(
      outer: shape[0], channels: isLast ? shape[shape.count - 1] : shape[1],
      spatial: shape.dropFirst(isLast ? 1 : 2).dropLast(isLast ? 1 : 0).reduce(1, *),
      layout: isLast ? .channelLast : .channelSecond)
    func channels(_ name: String) throws -> [[Double]] {
      let flat = try archive.values(name)
      return (0..<geometry.channels).map { channel in
        (0..<geometry.countPerChannel).map { flat[geometry.offset(channel, $0)] }
      }
    }
    var input = LayerInput(geometry, type == "float64" ? .float64 : .float32, activation)
    input.epsilon = try attribute("eps")
    input.x = try channels("x")
    input.dz = try channels("dy")
    input.scale = try archive.values("gamma")
    input.bias = try archive.values("beta")
    let start = (mean: try archive.values("rm"), variance: try archive.values("rv"))
    if mode != "train" { input.given = start }
    let tolerance = type == "float64" ? 1e-8 : 2e-4
    let steps = meta["steps"] as? Int ?? 1
    for set in AgreementTests.sets {
      for outOfPlace in [false, true] {
        var run = LayerRun(input: input, set: set, outOfPlace: outOfPlace)
        run.momentum = try attribute("momentum")
        run.moving = start
        var result = try run()
        for _ in 1..<max(1, steps) {
          run.moving = result.moving
          result = try run()
        }
        var errors = [("y", relativeError(result.z, try channels("ref_y")))]
        if mode == "train" {
          let mean = relativeError(result.moving.mean, try archive.values("ref_moving_mean"))
          let variance = relativeError(result.moving.variance, try archive.values("ref_moving_var"))
          errors += [("moving mean", mean), ("moving variance", variance)]
        }
        if mode != "test" {
          errors += [
            ("dx", relativeError(result.dx, try channels("ref_dx"))),
            ("dscale", relativeError(result.dscale, try archive.values("ref_dgamma"))),
            ("dbias", relativeError(result.dbias, try archive.values("ref_dbeta"))),
          ]
        }
        for (name, error) in errors {
          #expect(error <= tolerance, "\(file) \(set) out of place \(outOfPlace): \(name) \(error)")
        }
      }
    }
  }
}
