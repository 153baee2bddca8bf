import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN

/// A small network in which layers take their channels from axis 1 or from the last one, as it
/// comes: what the layout test makes, shrinks and prints.
///
/// Every node takes and gives images of one shape, so that any node may read any earlier one.
struct LayoutGraph: CustomStringConvertible {
  enum Kind: CustomStringConvertible {
    case conv(DataLayout, size: Int, filters: Int?)
    case abn(DataLayout, Activation, isApart: Bool, global: Bool)
    case residual(conv: DataLayout, abn: DataLayout)
    case pool(DataLayout, PoolType, stride: Int)
    case adaptivePool(DataLayout, PoolType)
    /// A factor for each channel, from global pooling.
    case squeeze(DataLayout)
    case resize(DataLayout, Resize.Method)
    case prelu(DataLayout, PReLUMode)
    case activate(Activation)
    case unary(Int)
    case combine(Elementwise.Function)
    /// With a mean over some axes of another node.
    case broadcast(Elementwise.Function, axes: [Int], keeps: Bool, at: Int)
    case sumOfThree, squaredError
    case concat(axis: Int), split(axis: Int)
    case pad(DataLayout), slice(axis: Int)
    case transposed([Int]), reshaped
    case softmax(axis: Int)
    case dropout(isTest: Bool)
    case cast

    var description: String {
      switch self {
      case .conv(let layout, let size, let filters):
        "conv\(size)x\(size) \(layout)" + (filters.map { " by way of \($0) filters" } ?? "")
      case .abn(let layout, let act, let isApart, let global):
        "\(isApart ? "batch norm" : "abn") \(layout) \(act.name)\(global ? " global" : "")"
      case .residual(let conv, let abn): "residual of conv \(conv), abn \(abn)"
      case .pool(let layout, let function, let stride): "\(function) pool \(layout) / \(stride)"
      case .adaptivePool(let layout, let function): "adaptive \(function) pool \(layout)"
      case .squeeze(let layout): "squeeze \(layout)"
      case .resize(let layout, let method): "\(method) \(layout)"
      case .prelu(let layout, let mode): "prelu \(mode) \(layout)"
      case .activate(let act): act.name
      case .unary(let which): "unary \(which)"
      case .combine(let function): function.rawValue
      case .broadcast(let function, let axes, let keeps, let at):
        "\(function.rawValue) with the mean over \(axes)\(keeps ? " kept" : "") at \(at)"
      case .sumOfThree: "sum of three"
      case .squaredError: "squared error"
      case .concat(let axis): "concat and slice along \(axis)"
      case .split(let axis): "split and concat along \(axis)"
      case .pad(let layout): "pad2d \(layout) and slice"
      case .slice(let axis): "slice along \(axis) and pad"
      case .transposed(let order): "transposed \(order), activated and back"
      case .reshaped: "flattened, activated and reshaped"
      case .softmax(let axis): "softmax along \(axis)"
      case .dropout(let isTest): "dropout\(isTest ? " for evaluation" : "")"
      case .cast: "cast to float64 and back"
      }
    }
  }

  struct Node {
    var kind: Kind
    /// Earlier nodes: 0 is x, n the n-th node.
    var inputs: [Int]
    var isFetched: Bool
  }

  let shape: Shape
  var nodes: [Node]

  var description: String {
    "x \(shape)\n"
      + nodes.enumerated().map {
        "  \($0.offset + 1): \($0.element.kind) of \($0.element.inputs)"
          + ($0.element.isFetched ? ", fetched" : "")
      }.joined(separator: "\n")
  }

  init(seed: UInt64) {
    var random = SequentialRandom(CounterRandom(seed: seed, stream: 0x1a7))
    let channels = [3, 8, 16, 19, 32]
    // Either axis may be the channels; a middle of few rows keeps the images small.
    shape = [
      2, channels.randomElement(using: &random)!, Int.random(in: 3...5, using: &random),
      channels.randomElement(using: &random)!,
    ]
    nodes = []
    for _ in 0..<Int.random(in: 2...10, using: &random) {
      func earlier() -> Int {
        Int.random(in: 0..<3, using: &random) > 0
          ? nodes.count : Int.random(in: max(0, nodes.count - 4)...nodes.count, using: &random)
      }
      nodes.append(
        Node(
          kind: Self.kind(&random), inputs: (0..<3).map { _ in earlier() },
          isFetched: Int.random(in: 0..<6, using: &random) == 0))
    }
  }

  private static func kind(_ random: inout SequentialRandom) -> Kind {
    func one<T>(_ values: [T]) -> T { values.randomElement(using: &random)! }
    let layout = one(DataLayout.allCases)
    let axis = one([0, 1, 2, 3])
    let function = one([Elementwise.Function.add, .subtract, .multiply])
    switch Int.random(in: 0..<30, using: &random) {
    case 0..<7: return .conv(layout, size: one([1, 3]), filters: one([nil, nil, 16, 32]))
    case 7..<11:
      return .abn(
        layout, one([.identity, .leakyReLU(), .elu(), .prelu, .relu, .swish]),
        isApart: one([true, false, false]), global: one([true, false, false]))
    case 11, 12: return .residual(conv: layout, abn: one(DataLayout.allCases))
    case 13, 14: return .pool(layout, one([.max, .average]), stride: one([1, 2]))
    case 15: return .adaptivePool(layout, one([.max, .average]))
    case 16: return .squeeze(layout)
    case 17: return .resize(layout, one([.nearest, .bilinear]))
    case 18: return .prelu(layout, one([.all, .channel, .element]))
    case 19: return .activate(one([.relu, .leakyReLU(), .relu6, .tanh, .gelu]))
    case 20: return one([.unary(one([0, 1, 2, 3])), .cast, .sumOfThree, .squaredError])
    case 21, 22: return .combine(function)
    case 23:
      let (axes, keeps, at): ([Int], Bool, Int) = one([
        ([0, 2, 3], false, 1), ([1], true, -1), ([2, 3], true, -1), ([0, 1], false, -1),
        ([0, 1, 2], false, -1), ([0], true, -1), ([3], true, -1), ([0], false, -1),
        ([2, 3], false, 0), ([1, 2], true, -1),
      ])
      return .broadcast(function, axes: axes, keeps: keeps, at: at)
    case 24: return .concat(axis: axis)
    case 25: return .split(axis: axis)
    case 26: return one([.pad(layout), .slice(axis: axis)])
    case 27:
      return one([.transposed(one([[0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3]])), .reshaped])
    case 28: return .softmax(axis: axis)
    default: return .dropout(isTest: one([true, false]))
    }
  }

  /// Without one node: its readers read its first input.
  func without(_ index: Int) -> LayoutGraph {
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

  /// Appends the graph; gives the nodes that nothing reads, and those that are fetched.
  func append(to x: Variable) throws -> (ends: [Variable], fetched: [Variable]) {
    var values = [x]
    for node in nodes { values.append(try Self.append(node.kind, node.inputs.map { values[$0] })) }
    let read = Set(nodes.flatMap { node in node.inputs.prefix(Self.inputCount(node.kind)) })
    return (
      ends: values.indices.filter { !read.contains($0) && $0 > 0 }.map { values[$0] },
      fetched: nodes.indices.filter { nodes[$0].isFetched }.map { values[$0 + 1] }
    )
  }

  private static func inputCount(_ kind: Kind) -> Int {
    switch kind {
    case .combine, .broadcast, .squaredError, .residual, .concat: 2
    case .sumOfThree: 3
    default: 1
    }
  }
}
