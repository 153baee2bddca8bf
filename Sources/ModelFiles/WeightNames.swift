import ABNGraph
import ABNModels
import ABNTensors

/// How a file of weights names its tensors.
package enum WeightNames: String, Sendable, CaseIterable {
  /// By the program: `conv2d_0.w_0`, `inplace_abn_0.w_1`, `fc_0.b_0`.
  case abn
  /// As torchvision: `conv1.weight`, `layer1.0.bn1.running_mean`, `fc.bias`; matrices of fully
  /// connected layers as [outputs, inputs]. For the networks that torchvision has under such names.
  case torch

  /// The naming of this name.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  package static func named(_ name: String) throws -> WeightNames {
    try named(name, as: "names")
  }

  /// Whether a file may have a tensor of this name that no network here reads: PyTorch counts the
  /// steps of each normalization.
  func ignores(_ name: String) -> Bool {
    self == .torch && (name.hasSuffix(".num_batches_tracked") || name == "num_batches_tracked")
  }
}

/// A parameter of a program and its place in a file of weights.
struct NamedWeight {
  let variable: Variable
  /// The tensor's name in the file.
  let name: String
  /// Whether the file has the matrix as [outputs, inputs], the program as [inputs, outputs].
  var isTransposed = false

  /// The tensor's shape in the file.
  var shape: Shape {
    isTransposed ? Shape(variable.shape.dimensions.reversed()) : variable.shape
  }

  /// The parameters of a model's program, in the order in which its layers made them.
  ///
  /// - Throws: `ABNError(.unsupported)` for `torch` and a network that torchvision does not have, or
  ///   an activation with parameters.
  static func all(of model: Model, _ program: Program, _ names: WeightNames) throws -> [Self] {
    let parameters = program.parameters
    if names == .abn { return parameters.map { Self(variable: $0, name: $0.name) } }
    guard let layers = model.torchNames else {
      let known = Model.all.filter { $0.torchNames != nil }.map(\.name)
      throw ABNError(
        .unsupported, "torch names", got: "the model \(quoted(model.name))",
        wanted: "one of \(known.joined(separator: ", "))",
        fix: "Use the names of the program: --names abn.")
    }
    // A layer's parameters stand beside one another and begin with its name.
    var groups: [[Variable]] = []
    var last: Substring?
    for parameter in parameters {
      let layer = parameter.name.lastIndex(of: ".").map { parameter.name[..<$0] }
      if layer == nil || layer != last { groups.append([]) }
      groups[groups.count - 1].append(parameter)
      last = layer
    }
    let weights = zip(layers, groups).map { layer, group in
      zip(suffixes(of: group), group).map { suffix, variable in
        Self(
          variable: variable, name: "\(layer).\(suffix)", isTransposed: variable.shape.rank == 2)
      }
    }
    guard groups.count == layers.count, zip(weights, groups).allSatisfy({ $0.count == $1.count })
    else {
      throw ABNError(
        .unsupported, "torch names",
        got: "layers that torchvision's \(model.name) does not have: the slopes of prelu",
        wanted: "an activation without parameters",
        fix: "Use the names of the program: --names abn.")
    }
    return weights.flatMap { $0 }
  }

  /// A convolution has one parameter, a fully connected layer two, a normalization four.
  private static func suffixes(of group: [Variable]) -> [String] {
    group[0].shape.rank == 1
      ? ["weight", "bias", "running_mean", "running_var"] : ["weight", "bias"]
  }
}

extension Tensor {
  /// A matrix with rows and columns exchanged; bits stay.
  var transposed: Tensor {
    let (rows, columns) = (shape[0], shape[1])
    var result = Tensor(uninitialized: [columns, rows], dtype: dtype)
    func exchange<T>(_: T.Type) {
      withUnsafeBytes { source in
        let source = source.bindMemory(to: T.self)
        result.withUnsafeMutableBytes { target in
          let target = target.bindMemory(to: T.self)
          for row in 0..<rows {
            for column in 0..<columns {
              target[column * rows + row] = source[row * columns + column]
            }
          }
        }
      }
    }
    switch dtype.bytes {
    case 1: exchange(UInt8.self)
    case 2: exchange(UInt16.self)
    case 4: exchange(UInt32.self)
    default: exchange(UInt64.self)
    }
    return result
  }
}
