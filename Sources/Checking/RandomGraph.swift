import ABNActivations
import ABNGraph
import ABNLayers
import ABNTensors

/// A small network as a value: what the random test makes, shrinks and prints.
///
/// Every node takes and gives [3, 2, 4, 4], so that any node may read any earlier one.
package struct RandomGraph: CustomStringConvertible {
  package enum Kind: Equatable, CustomStringConvertible {
    /// In place or apart: what is compared. `parameters` chooses scale and bias.
    case abn(Activation, alpha: Double, parameters: Int, global: Bool)
    case act(Activation, alpha: Double)
    case conv(Int)
    case maxPool, averagePool
    case add, subtract, multiply
    /// conv, in-place layer, plus a second node, leaky_relu: the end of a residual block.
    case residual(parameters: Int)
    case concat
    case reshaped
    case scaled(Double)
    case sliced

    package var description: String {
      switch self {
      case .abn(let act, let alpha, let parameters, let global):
        "abn(\(act.name), alpha \(alpha), parameters \(parameters)\(global ? ", global" : ""))"
      case .act(let act, let alpha): "\(act.name)(alpha \(alpha))"
      case .conv(let size): "conv\(size)x\(size)"
      case .maxPool: "max_pool"
      case .averagePool: "avg_pool"
      case .add: "add"
      case .residual(let parameters): "residual(parameters \(parameters))"
      case .subtract: "subtract"
      case .multiply: "multiply"
      case .concat: "concat"
      case .reshaped: "reshape"
      case .scaled(let factor): "scale(\(factor))"
      case .sliced: "slice and pad"
      }
    }
  }

  package struct Node: CustomStringConvertible {
    package var kind: Kind
    /// Earlier nodes: 0 is x, n the n-th node.
    package var inputs: [Int]
    package var isFetched: Bool
    package var description: String { "\(kind) of \(inputs)\(isFetched ? ", fetched" : "")" }
  }

  package var nodes: [Node]

  package var description: String {
    nodes.enumerated().map { "  \($0.offset + 1): \($0.element)" }.joined(separator: "\n")
  }

  package static let shape: Shape = [3, 2, 4, 4]
  static let scales: [[Double]] = [
    [1, 0.5], [-0.7, 1.3], [0, 1], [1e-6, 0.8], [0.03, -0.02], [1, 1],
  ]
  static let biases: [[Double]] = [
    [0, 0.1], [0.3, -0.4], [0.5, 0], [0.5, -6], [0, 0], [-0.2, 7],
  ]

  package init(seed: UInt64) {
    var random = SequentialRandom(CounterRandom(seed: seed, stream: 77))
    nodes = []
    for _ in 0..<Int.random(in: 2...30, using: &random) {
      func earlier() -> Int {
        // Mostly the last: chains with side branches.
        Int.random(in: 0..<3, using: &random) > 0
          ? nodes.count : Int.random(in: max(0, nodes.count - 6)...nodes.count, using: &random)
      }
      func alpha() -> Double { [0.01, 0.2, 1, 1.5, 0, -0.3].randomElement(using: &random)! }
      let kind: Kind
      switch Int.random(in: 0..<21, using: &random) {
      case 0..<8:
        kind = .abn(
          Activation.all.randomElement(using: &random)!, alpha: alpha(),
          parameters: Int.random(in: 0..<Self.scales.count, using: &random),
          global: Int.random(in: 0..<6, using: &random) == 0)
      case 8..<11:
        let plain = Activation.all.filter { $0 != .prelu }
        kind = .act(plain.randomElement(using: &random)!, alpha: alpha())
      case 11..<13: kind = .conv(Bool.random(using: &random) ? 1 : 3)
      case 13: kind = .maxPool
      case 14: kind = Bool.random(using: &random) ? .averagePool : .sliced
      case 15, 16: kind = .add
      case 17: kind = Bool.random(using: &random) ? .subtract : .multiply
      case 18: kind = .concat
      case 19:
        kind = .residual(parameters: Int.random(in: 0..<Self.scales.count, using: &random))
      default: kind = Bool.random(using: &random) ? .reshaped : .scaled(-0.8)
      }
      var count = [.add, .subtract, .multiply, .concat].contains(kind) ? 2 : 1
      if case .residual = kind { count = 2 }
      nodes.append(
        Node(
          kind: kind, inputs: (0..<count).map { _ in earlier() },
          isFetched: Int.random(in: 0..<10, using: &random) == 0))
    }
  }

  /// Without one node: its readers read its first input.
  package func without(_ index: Int) -> RandomGraph {
    var copy = self
    let replacement = nodes[index].inputs[0]
    copy.nodes.remove(at: index)
    for reader in copy.nodes.indices {
      copy.nodes[reader].inputs = copy.nodes[reader].inputs.map {
        $0 == index + 1 ? replacement : $0 > index + 1 ? $0 - 1 : $0
      }
    }
    return copy
  }

  /// Appends the graph's operators behind `x`, of `shape`.
  ///
  /// - Returns: what nobody reads, and the nodes that are fetched.
  package func append(
    to x: Variable, inPlace: Bool
  ) throws -> (ends: [Variable], fetched: [Variable]) {
    var values = [x]
    for (index, node) in nodes.enumerated() {
      values.append(try append(node, index, node.inputs.map { values[$0] }, inPlace: inPlace))
    }
    let read = Set(nodes.flatMap(\.inputs))
    return (
      ends: values.indices.filter { !read.contains($0) && $0 > 0 }.map { values[$0] },
      fetched: nodes.indices.filter { nodes[$0].isFetched }.map { values[$0 + 1] }
    )
  }

  /// Large, so that a chain of layers over constant channels does not make rounding grow 300-fold a
  /// layer: that would hide mistakes.
  package static let epsilon = 0.05

  /// Normalization and activation, in place or apart, with equal names of parameters.
  package static func normalized(
    _ x: Variable, _ act: Activation, alpha: Double, name: String, scale: Tensor, bias: Tensor,
    global: Bool = false, inPlace: Bool
  ) throws -> Variable {
    let scale = ParamAttr(initializer: .array(scale))
    let bias = ParamAttr(initializer: .array(bias))
    if inPlace {
      return try inplaceABN(
        x, act: act.with(alpha: alpha), epsilon: epsilon, paramAttr: scale, biasAttr: bias,
        name: name,
        useGlobalStats: global)
    }
    let y = try batchNorm(
      x, epsilon: epsilon, paramAttr: scale, biasAttr: bias, name: name, useGlobalStats: global)
    if act == .prelu {
      let slopes = ParamAttr(name: "\(name).w_3", initializer: .constant(0.25))
      return try prelu(y, mode: .all, paramAttr: slopes)
    }
    return try activation(y, act.with(alpha: alpha))
  }

  private func append(
    _ node: Node, _ index: Int, _ inputs: [Variable], inPlace: Bool
  ) throws -> Variable {
    let x = inputs[0]
    func normalized(
      _ x: Variable, _ act: Activation, _ alpha: Double, _ parameters: Int, _ global: Bool = false
    ) throws -> Variable {
      try Self.normalized(
        x, act, alpha: alpha, name: "abn\(index)",
        scale: Tensor(Self.scales[parameters], shape: [2]),
        bias: Tensor(Self.biases[parameters], shape: [2]), global: global, inPlace: inPlace)
    }
    func convolved(_ x: Variable, _ size: Int) throws -> Variable {
      try conv2d(
        x, numFilters: 2, filterSize: size, padding: .same,
        biasAttr: .absent)
    }
    switch node.kind {
    case .abn(let act, let alpha, let parameters, let global):
      return try normalized(x, act, alpha, parameters, global)
    case .residual(let parameters):
      let branch = try normalized(convolved(x, 3), .identity, 1, parameters)
      return try leakyReLU(elementwiseAdd(branch, inputs[1]), alpha: 0.1)
    case .act(let act, let alpha): return try activation(x, act.with(alpha: alpha))
    case .conv(let size): return try convolved(x, size)
    case .maxPool: return try pool2d(x, poolSize: 3, poolPadding: 1)
    case .averagePool: return try pool2d(x, poolSize: 3, poolType: .average, poolPadding: 1)
    case .add: return try elementwiseAdd(x, inputs[1])
    case .subtract: return try elementwiseSub(x, inputs[1])
    case .multiply: return try elementwiseMul(x, scale(tanh(inputs[1]), factor: 0.5))
    case .concat:
      return try conv2d(
        concat([x, inputs[1]], axis: 1), numFilters: 2, filterSize: 1, biasAttr: .absent)
    case .reshaped: return try reshape(reshape(x, [3, 32]), [3, 2, 4, 4])
    case .scaled(let factor): return try scale(x, factor: factor, bias: 0.1)
    case .sliced:
      return try pad(
        slice(x, axes: [2], starts: [1], ends: [4]), [0, 0, 0, 0, 1, 0, 0, 0])
    }
  }
}
