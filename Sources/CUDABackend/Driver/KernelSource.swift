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
  case reorder = "reorder.cu"

  /// The file's text.
  var text: String { String(decoding: bytes, as: UTF8.self) }

  private var bytes: [UInt8] {
    switch self {
    case .device: PackageResources.device_cuh
    case .reorder: PackageResources.reorder_cu
    }
  }
}
