import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Testing

@Suite struct PReLUTests {
  /// The operator with its slopes as an input, so that their gradient is checked too.
  static func direct(_ x: Shape, _ slopes: Shape) -> OperatorCase {
    OperatorCase(
      "prelu \(x) by \(slopes)", [.random(x), .random(slopes, -0.5, 1)],
      reference: { (values: [Tensor]) -> [[Double]] in
        let (x, a) = (values[0], values[1])
        let wide = moved(a, to: x.shape) { at in
          a.shape.dimensions.indices.map {
            a.shape[$0] == 1 ? 0 : at[$0 + x.shape.rank - a.shape.rank]
          }
        }
        return [zip(x.doubles, wide).map { $0 > 0 ? $0 : $0 * $1 }]
      }
    ) {
      // The slopes of 16-bit data are float32.
      let slopes = try cast($0[1], to: $0[0].dtype.accumulation)
      return [try ABNTestSupport.op(PReLU(), [$0[0], slopes])]
    }
  }

  static let cases: [OperatorCase] = [
    direct([3, 7], [1]), direct([2, 3, 4, 5], [1, 3, 1, 1]), direct([2, 4, 5, 3], [1, 1, 1, 3]),
    direct([3, 4, 5], [1, 4, 5]), direct([3, 4, 5], [3, 4, 5]), direct([3, 300], [300]),
    OperatorCase("prelu all", [.random([3, 7])]) { [try prelu($0[0])] },
    OperatorCase("prelu channel", [.random([2, 3, 4, 5])]) {
      [try prelu(scale($0[0], factor: 2), mode: .channel)]
    },
    OperatorCase("prelu channel NHWC", [.random([2, 4, 5, 3])]) {
      [try prelu($0[0], mode: "channel", dataLayout: .nhwc)]
    },
    OperatorCase("prelu element", [.random([2, 4, 5])]) { [try prelu($0[0], mode: .element)] },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }

  @Test func slopes() throws {
    let builder = ProgramBuilder()
    try builder.build {
      let x = try data("x", shape: [-1, 3, 4, 5])
      _ = try prelu(x, mode: .channel, name: "a")
      _ = try prelu(x, mode: .channel, dataLayout: .nhwc, name: "b")
      _ = try prelu(x, mode: .element, name: "c")
      _ = try prelu(x, paramAttr: "shared")
    }
    let shapes = builder.main.parameters.map { "\($0.name) \($0.shape)" }
    #expect(
      shapes == [
        "a.w_0 [1, 3, 1, 1]", "b.w_0 [1, 1, 1, 5]", "c.w_0 [1, 3, 4, 5]", "shared [1]",
      ])
    let x = Tensor([-4, 8] as [Float], shape: [1, 2])
    #expect(try evaluate([x]) { [try prelu($0[0])] }[0].doubles == [-1, 8])
  }

  @Test func errorsSayWhatDoesNotFit() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [-1, 3, -1])
      expectError(.attribute, ["\"chanel\"", "Did you mean \"channel\"?"]) {
        try prelu(x, mode: "chanel")
      }
      expectError(.shape, ["[?, 3, ?]", "element"]) { try prelu(x, mode: .element) }
      let slopes = try data("slopes", shape: [2])
      let source = ABNTensors.SourceLocation(fileID: #fileID, line: #line)
      let z = try data("z", shape: [4, 3])
      expectError(.shape, ["slopes", "[2]", "[4, 3]"]) {
        try ProgramBuilder.current.append(PReLU(), [z, slopes], layer: "prelu", source: source)
      }
    }
  }
}
