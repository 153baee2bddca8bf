/// A kernel before it is compiled.
struct KernelSource: Sendable, Hashable {
  /// The text behind `device.cuh`.
  let text: String
  /// The function.
  let entry: String
  /// `-DT=f32` and the like.
  let defines: [String]
  /// For messages.
  let name: String

  /// A kernel of the files of `Resources`, one behind the other.
  init(_ files: [KernelFile], entry: String, defines: [String] = []) {
    text = files.map(\.text).joined(separator: "\n")
    self.entry = entry
    self.defines = defines
    name = "\(entry) of \(files.last?.rawValue ?? "")"
  }

  /// A kernel whose text was generated.
  init(generated text: String, entry: String, defines: [String] = []) {
    self.text = text
    self.entry = entry
    self.defines = defines
    name = entry
  }

  /// What is compiled.
  var whole: String { KernelFile.device.text + "\n" + text }
}

/// The files of `Resources`.
enum KernelFile: String, CaseIterable {
  case device = "device.cuh"
  case activations = "activations.cuh"
  case cells = "cells.cu"
  case counters = "counters.cu"
  case dropout = "dropout.cu"
  case flat = "flat.cuh"
  case norm = "norm.cu"
  case reorder = "reorder.cu"
  case layerCommon = "layer_common.cuh"
  case layerGeneral = "layer_general.cu"
  case layerPlanar = "layer_planar.cu"
  case layerRows = "layer_rows.cu"
  case convolution = "convolution.cu"
  case random = "random.cu"
  case walk = "walk.cuh"
  case copy = "copy.cu"
  case reduce = "reduce.cu"
  case broadcast = "broadcast.cu"
  case poolWindows = "pool.cuh"
  case pool = "pool.cu"
  case poolGradient = "pool_gradient.cu"
  case lines = "lines.cuh"
  case softmax = "softmax.cu"
  case loss = "loss.cu"
  case accuracy = "accuracy.cu"
  case resize = "resize.cu"
  case fold = "fold.cu"

  /// The file's text.
  var text: String { String(decoding: bytes, as: UTF8.self) }

  private var bytes: [UInt8] {
    switch self {
    case .device: PackageResources.device_cuh
    case .activations: PackageResources.activations_cuh
    case .cells: PackageResources.cells_cu
    case .counters: PackageResources.counters_cu
    case .dropout: PackageResources.dropout_cu
    case .flat: PackageResources.flat_cuh
    case .norm: PackageResources.norm_cu
    case .reorder: PackageResources.reorder_cu
    case .layerCommon: PackageResources.layer_common_cuh
    case .layerGeneral: PackageResources.layer_general_cu
    case .layerPlanar: PackageResources.layer_planar_cu
    case .layerRows: PackageResources.layer_rows_cu
    case .convolution: PackageResources.convolution_cu
    case .random: PackageResources.random_cu
    case .walk: PackageResources.walk_cuh
    case .copy: PackageResources.copy_cu
    case .reduce: PackageResources.reduce_cu
    case .broadcast: PackageResources.broadcast_cu
    case .poolWindows: PackageResources.pool_cuh
    case .pool: PackageResources.pool_cu
    case .poolGradient: PackageResources.pool_gradient_cu
    case .lines: PackageResources.lines_cuh
    case .softmax: PackageResources.softmax_cu
    case .loss: PackageResources.loss_cu
    case .accuracy: PackageResources.accuracy_cu
    case .resize: PackageResources.resize_cu
    case .fold: PackageResources.fold_cu
    }
  }
}
