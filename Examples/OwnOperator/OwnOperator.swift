import InPlaceABN

/// y = min(max(x, low), high).
public struct Clamp: OperatorKind, CPUComputable {
  public static let kindName = "clamp"
  public static let formula = "y = min(max(x, low), high)"

  /// The bounds of the result.
  public let low, high: Float

  /// Results from `low` to `high`.
  public init(low: Float, high: Float) { (self.low, self.high) = (low, high) }

  public var attributes: [(name: String, value: String)] {
    [("low", "\(low)"), ("high", "\(high)")]
  }
  public var inputCounts: ClosedRange<Int> { 1...1 }

  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloat32(inputs[0])
    guard low <= high else {
      throw ABNError(
        .attribute, "clamp", got: "\(low)...\(high)", wanted: "low at most high",
        fix: "Give the smaller number as low.")
    }
    return inputs
  }

  // Each element is read before its place is written, so y may take x's bytes.
  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  public func compute(_ operands: CPUOperands) throws {
    let (x, y) = (try operands.input(0, as: Float.self), try operands.output(0, as: Float.self))
    for i in x.indices { y[i] = min(max(x[i], low), high) }
  }

  public func gradients(_ context: inout GradientContext) throws -> [Variable?] {
    guard let dy = context.outputGradients[0] else { return [nil] }
    // The output says where x was inside, so that nothing need keep x.
    return [try context.append(ClampGradient(clamp: self), context.outputs[0], dy)]
  }
}

/// dx = low < y < high ? dy : 0.
public struct ClampGradient: OperatorKind, CPUComputable {
  public static let kindName = "clamp_grad"
  public static let formula = "dx = low < y < high ? dy : 0"

  /// What was computed.
  public let clamp: Clamp

  public var attributes: [(name: String, value: String)] { clamp.attributes }
  public var inputCounts: ClosedRange<Int> { 2...2 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    for input in inputs { try requireFloat32(input) }
    let (y, dy) = (inputs[0].shape.dimensions, inputs[1].shape.dimensions)
    // A dimension below 0 is not known yet.
    guard y.count == dy.count, zip(y, dy).allSatisfy({ $0 < 0 || $1 < 0 || $0 == $1 }) else {
      throw ABNError(
        .shape, "gradient", got: "\(inputs[1].shape)", wanted: "\(inputs[0].shape)",
        fix: "Give differentiated a seed of the clamped variable's shape.")
    }
    return [inputs[1]]
  }

  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .may)] }

  public func compute(_ operands: CPUOperands) throws {
    let y = try operands.input(0, as: Float.self)
    let dy = try operands.input(1, as: Float.self)
    let dx = try operands.output(0, as: Float.self)
    for i in y.indices { dx[i] = clamp.low < y[i] && y[i] < clamp.high ? dy[i] : 0 }
  }
}

/// Operands come as float32 for float16 and bfloat16 too.
private func requireFloat32(_ type: TensorType) throws {
  guard [.float32, .float16, .bfloat16].contains(type.dtype) else {
    throw ABNError(
      .dtype, "input", got: "\(type.dtype)", wanted: "float32, float16 or bfloat16",
      fix: "Convert it with cast.")
  }
}

/// The layer: min(max(x, low), high).
public func clamp(
  _ x: Variable, low: Float, high: Float, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  let builder = ProgramBuilder.current
  return try builder.append(
    Clamp(low: low, high: high), [x], layer: builder.layerName(nil, kind: Clamp.kindName),
    source: SourceLocation(fileID: file, line: line))[0]
}

@main struct OwnOperator {
  static func main() throws {
    let builder = ProgramBuilder()
    let (x, y, loss) = try builder.build {
      let x = try data("x", shape: [-1, 4], stopsGradient: false)
      let y = try clamp(x, low: -1, high: 1)
      return (x, y, try mean(square(y)))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: [x])
    let values = try Executor().run(
      result.program, feed: ["x": Tensor([-3, -0.5, 0.25, 2] as [Float], shape: [1, 4])],
      fetch: [y, result.gradients[x.id]!], scope: Scope())
    print("y =", values[0].doubles, " dx =", values[1].doubles)
  }
}
