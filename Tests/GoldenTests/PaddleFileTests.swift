import ABNFormats
import ABNTensors
import ABNTestSupport
import DocumentedExample
import Foundation
import InPlaceABN
import Testing

/// Parameters that the original saved, in each of its formats, into the documented example's
/// program by name; and back into the same bytes.
@Suite struct PaddleFileTests {
  static let folders = ["oracle/paddle-files"].filter { Shared.has($0) }.map { Shared.path($0) }

  static let names = [
    "fc1.w", "fc_0.b_0", "inplace_abn_0.b_0", "inplace_abn_0.w_0", "inplace_abn_0.w_1",
    "inplace_abn_0.w_2", "inplace_abn_1.b_0", "inplace_abn_1.w_0", "inplace_abn_1.w_1",
    "inplace_abn_1.w_2",
  ]

  /// What the original's combined file holds besides: it saved persistables.
  static let rate = "learning_rate_0"

  /// The documented example with four units, as the files have it.
  private func example() throws -> (builder: ProgramBuilder, y: Variable) {
    let builder = ProgramBuilder(seed: 3)
    let y = try builder.build { try documentedLayers(data("x", shape: [3, 7, 3, 7]), size: 4) }
    return (builder, y)
  }

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: path)) }

  @Test(arguments: folders) func everyFormatSaysTheSame(folder: String) throws {
    let values = try PaddleParameters.readDirectory("\(folder)/params")
    #expect(values.keys.sorted() == Self.names)
    #expect(try PaddleParameters.readPickle("\(folder)/model.pdparams") == values)
    let all = try PaddleParameters.readCombined(
      "\(folder)/combined/all", names: Self.names + [Self.rate])
    #expect(all.filter { $0.key != Self.rate } == values)
    #expect(all[Self.rate] == Tensor([0.01] as [Float]))
    // As a dump of the files shows them.
    let weights: [Float] = values["fc1.w"]!.elements()
    #expect(values["fc1.w"]!.shape == [147, 4])
    #expect(weights.prefix(3).map(\.bitPattern) == [0x3e3e_ae8e, 0x3dfc_0e71, 0xbdd7_94ce])
    let variances: [Float] = values["inplace_abn_0.w_2"]!.elements()
    #expect(variances.map(\.bitPattern) == [0x3f68_ec85, 0x3f6a_13a9, 0x3f69_0525, 0x3f67_954a])

    let detailed = try PaddleParameters.readVariableWithLevels("\(folder)/lod_variable")
    #expect(detailed.levelsOfDetail == [[0, 2, 5]])
    #expect(detailed.tensor == Tensor((0..<10).map { Float($0) }, shape: [5, 2]))
  }

  @Test(arguments: folders) func loadsByNameAndComputes(folder: String) throws {
    let (builder, y) = try example()
    let expected = try PaddleParameters.readDirectory("\(folder)/params")
    let program = builder.main.cloned(forTest: true)
    let executor = Executor(backend: CPUBackend())
    let x = randomInput()
    let wanted = output(x.doubles, expected)
    for format in ["params", "persistables", "pdparams"] {
      let scope = Scope()
      try executor.run(builder.startup, scope: scope)
      switch format {
      case "params": try loadParams(builder.main, scope, from: "\(folder)/params")
      case "persistables":
        let all = try PaddleParameters.readCombined(
          "\(folder)/combined/all", names: Self.names + [Self.rate])
        #expect(try setProgramState(builder.main, scope, to: all) == [Self.rate])
      default:
        let state = try PaddleParameters.readPickle("\(folder)/model.pdparams")
        #expect(try setProgramState(builder.main, scope, to: state).isEmpty)
      }
      #expect(scope.snapshot() == expected, "\(format)")
      let got = try executor.run(program, feed: ["x": x], fetch: [y], scope: scope)[0]
      expectClose(got.doubles, wanted, tolerance: 2e-5, format)
    }
  }

  @Test(arguments: folders) func writesTheSameBytes(folder: String) throws {
    let (builder, _) = try example()
    let output = try OutputFolder()
    let scope = Scope()
    try loadParams(builder.main, scope, from: "\(folder)/params")
    try saveParams(builder.main, scope, to: output.path + "/params")
    let written = try FileManager.default.contentsOfDirectory(atPath: output.path + "/params")
    #expect(written.sorted() == Self.names)
    for name in Self.names {
      #expect(try bytes("\(output.path)/params/\(name)") == bytes("\(folder)/params/\(name)"))
    }
    let all = try PaddleParameters.readCombined(
      "\(folder)/combined/all", names: Self.names + [Self.rate])
    try PaddleParameters.writeCombined(all, to: output.path + "/all")
    #expect(try bytes(output.path + "/all") == bytes("\(folder)/combined/all"))
    let detailed = try PaddleParameters.readVariableWithLevels("\(folder)/lod_variable")
    try PaddleParameters.writeVariable(
      detailed.tensor, levelsOfDetail: detailed.levelsOfDetail, to: output.path + "/lod")
    #expect(try bytes(output.path + "/lod") == bytes("\(folder)/lod_variable"))
  }

  /// The original's file holds one variable more than the program: said, and nothing is loaded.
  @Test(arguments: folders) func countsTheVariablesOfAFile(folder: String) throws {
    let (builder, _) = try example()
    let scope = Scope()
    #expect {
      try loadParams(builder.main, scope, from: "\(folder)/combined", filename: "all")
    } throws: { error in
      "\(error)".contains("28 more bytes after 10 variables") && "\(error)".contains("byte 2739")
    }
    #expect(scope.names.isEmpty)
  }

  /// Every file shortened to every length: refused with a byte, or read by none.
  @Test(arguments: folders) func refusesShortenedFiles(folder: String) throws {
    let output = try OutputFolder()
    try check("model.pdparams") { _ = try PaddleParameters.readPickle($0) }
    try check("lod_variable") { _ = try PaddleParameters.readVariable($0) }

    func check(_ name: String, _ read: (String) throws -> Void) throws {
      let path = "\(output.path)/\(name)"
      let whole = try bytes("\(folder)/\(name)")
      try whole.write(to: URL(filePath: path))
      let file = try FileHandle(forWritingTo: URL(filePath: path))
      for count in (0..<whole.count).reversed() {
        try file.truncate(atOffset: UInt64(count))
        do {
          try read(path)
          Issue.record("\(name) of \(count) bytes is read")
        } catch let error as ABNError {
          let isPlaced = error.location?.hasPrefix("byte ") == true && error.what.contains(path)
          #expect(error.category == .file && isPlaced, "\(error)")
        }
      }
    }
  }

  private func randomInput() -> Tensor {
    let random = CounterRandom(seed: 5, stream: 1)
    return Tensor(
      (0..<(3 * 147)).map { Float(2 * random.uniform(UInt64($0)) - 1) }, shape: [3, 7, 3, 7])
  }

  /// The three layers in float64 with moving statistics, straight from the formula.
  private func output(_ x: [Double], _ values: [String: Tensor]) -> [Double] {
    let weights = values["fc1.w"]!.doubles
    let bias = values["fc_0.b_0"]!.doubles
    return (0..<12).map { element -> Double in
      let (row, unit) = (element / 4, element % 4)
      var z = (0..<147).reduce(bias[unit]) { $0 + x[row * 147 + $1] * weights[$1 * 4 + unit] }
      for layer in ["inplace_abn_0", "inplace_abn_1"] {
        func value(_ suffix: String) -> Double { values["\(layer).\(suffix)"]!.doubles[unit] }
        let scaled = (z - value("w_1")) / (value("w_2") + 1e-5).squareRoot()
        z = scaled * value("w_0") + value("b_0")
      }
      return z < 0 ? 0.2 * z : z
    }
  }
}

/// A folder that is removed with everything in it when the value goes away.
final class OutputFolder {
  let path = FileManager.default.temporaryDirectory.path + "/abn-golden-\(UUID().uuidString)"

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
