import ABNGraph
import ABNModels
import ABNTensors

/// Whose names the tensors of a file have.
package enum WeightNames: String, Sendable, CaseIterable {
  /// The program's: `conv2d_0.w_0`, `inplace_abn_0.w_1`, `fc_0.b_0`.
  case abn
  /// torchvision's, and of the ResNets for CIFAR those that their weights are published under:
  /// `conv1.weight`, `layer1.0.bn1.running_mean`, `fc.bias`; matrices of connected layers as
  /// [outputs, inputs]. Most of timm's are the same.
  case torch
  /// timm's, where they are others than torchvision's.
  case timm
  /// Those of the repository of "In-Place Activated BatchNorm": `mod2.block1.convs.conv1.weight`.
  /// The in-place layers there scale by |w| + 1e-5, w the number in the file: in-place layers here
  /// get that.
  case original
  /// Those of another widespread program for CIFAR: `stage_1.0.conv_a.weight`.
  case cifar
  /// Paddle's: as torchvision's, but `_mean` and `_variance`, and matrices as [inputs, outputs].
  case paddle

  /// Those under which weights are written: what is written is read back bit by bit.
  package static let written: [WeightNames] = [.abn, .torch]

  /// The naming of this name.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  package static func named(_ name: String) throws -> WeightNames {
    try named(name, as: "names")
  }

  /// The naming of this name, one of `written`.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  package static func toWrite(_ name: String) throws -> WeightNames {
    if let found = written.first(where: { $0.rawValue == name }) { return found }
    throw ABNError(unknown: name, "names", names: written.map(\.rawValue))
  }

  /// Whether a file may have a tensor of this name that no network here reads: PyTorch counts the
  /// steps of each normalization.
  static func ignores(_ name: String) -> Bool {
    name.hasSuffix(".num_batches_tracked") || name == "num_batches_tracked"
  }
}

/// A parameter of a program and its place in a file of weights.
struct NamedWeight {
  let variable: Variable
  /// The tensor's name in the file.
  var name: String
  /// Whether the file has the matrix as [outputs, inputs], the program as [inputs, outputs].
  var isTransposed = false
  /// Whether the parameter is |w| + 1e-5 of the numbers w in the file.
  var isScaleAbsolute = false

  /// The tensor's shape in the file.
  var shape: Shape {
    isTransposed ? Shape(variable.shape.dimensions.reversed()) : variable.shape
  }

  /// The parameters of a model's program under names that weights are written with.
  ///
  /// - Throws: `ABNError(.unsupported)` for `torch` and a network that has no such names, or an
  ///   activation with parameters.
  static func all(of model: Model, _ program: Program, _ names: WeightNames) throws -> [Self] {
    if names == .abn { return program.parameters.map { Self(variable: $0, name: $0.name) } }
    guard let layers = model.torchNames else {
      let known = Model.all.filter { $0.torchNames != nil }.map(\.name)
      throw ABNError(
        .unsupported, "torch names", got: "the model \(quoted(model.name))",
        wanted: "one of \(known.joined(separator: ", "))",
        fix: "Use the names of the program: --names abn.")
    }
    let naming = WeightNaming(
      names: .torch, layers: layers, auxiliaryLayers: model.auxiliaryHead?.torchNames ?? [])
    guard let weights = naming.weights(of: program) else {
      throw ABNError(
        .unsupported, "torch names",
        got: "layers that PyTorch's \(model.name) does not have: the slopes of prelu",
        wanted: "an activation without parameters",
        fix: "Use the names of the program: --names abn.")
    }
    return weights
  }

  /// The parameter of the tensor that the file has.
  func parameter(_ tensor: Tensor) -> Tensor {
    if isTransposed { return tensor.transposed }
    guard isScaleAbsolute, tensor.dtype == .float32 else { return tensor }
    // The original's `eps`.
    return Tensor(tensor.elements(Float.self).map { abs($0) + 1e-5 }, shape: tensor.shape)
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
