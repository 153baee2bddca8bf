import ABNTensors

/// A file of named tensors in any of the formats that weights are published in. The contents say
/// which it is; the name does not matter.
///
/// Nothing in a file is executed. A tensor that nobody asks for stands in nobody's way: only those
/// that are read need an element type that `DType` has or that is widened to one.
package struct WeightsFile {
  /// The formats.
  package enum Format: String, CaseIterable, Sendable {
    /// Hugging Face's `.safetensors`.
    case safetensors
    /// numpy's `.npz`.
    case npz
    /// What `torch.save` writes since version 1.6: `.pth`, `.pt`, `.th`, `.bin`.
    case torch
    /// What `torch.save` wrote before.
    case torchLegacy = "torch-legacy"
    /// A pickle of numpy arrays: Paddle's `.pdparams`.
    case pickle

    /// The format's name in a sentence.
    package var title: String {
      switch self {
      case .safetensors: "safetensors"
      case .npz: "numpy's npz"
      case .torch: "PyTorch's format"
      case .torchLegacy: "PyTorch's format before 1.6"
      case .pickle: "a pickle of numpy arrays"
      }
    }
  }

  /// What the contents are.
  package let format: Format
  /// Texts beside the tensors; only safetensors has them.
  package let metadata: [String: String]
  /// The names of the tensors in the order of the file. In pickles those of dictionaries in one
  /// another are joined by dots: `state_dict.conv1.weight`.
  package let names: [String]
  private let contents: Contents

  private enum Contents {
    case safetensors(SafetensorsHeader, ByteSource)
    case npz(ByteSource)
    case checkpoint(PickledTensors)
  }

  /// Opens a file and reads what it says of its tensors.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged, and for a file in none
  ///   of the formats; `ABNError(.unsupported)` for formats that are known and not read.
  package init(path: String, limits: ReadLimits = ReadLimits()) throws {
    try self.init(ByteSource(path: path, kind: "weights", limits: limits))
  }

  /// The same of bytes in memory, or of a file that is open.
  package init(_ source: ByteSource) throws {
    format = try Self.format(of: source)
    switch format {
    case .safetensors:
      let header = try SafetensorsHeader(source)
      metadata = header.metadata
      names = header.records.map(\.name)
      contents = .safetensors(header, source)
    case .npz:
      metadata = [:]
      names = try ZipReader(source).entries.filter { $0.name.hasSuffix(".npy") }
        .map { String($0.name.dropLast(".npy".count)) }
      contents = .npz(source)
    case .torch, .torchLegacy, .pickle:
      let checkpoint: PickledTensors
      if format == .torch {
        let zip = try ZipReader(source)
        checkpoint = try PickledTensors(zip: zip, pickle: Self.pickle(in: zip)!)
      } else {
        checkpoint =
          try format == .pickle ? PickledTensors(pickle: source) : PickledTensors(legacy: source)
      }
      metadata = [:]
      names = checkpoint.names
      contents = .checkpoint(checkpoint)
    }
  }

  /// Reads tensors of names that `names` has.
  ///
  /// - Throws: `ABNError(.unsupported)` for an element type that is not read, `ABNError(.file)`
  ///   where the file is damaged or asks for more than its limits allow, `ABNError(.data)` for
  ///   elements that their type does not have.
  package func read(_ wanted: [String]) throws -> [String: Tensor] {
    switch contents {
    case .safetensors(let header, let source):
      // The checksum is one of the whole.
      if Set(wanted) == Set(names) { return try Safetensors.read(source).tensors }
      var tensors: [String: Tensor] = [:]
      let set = Set(wanted)
      for record in header.records where set.contains(record.name) {
        tensors[record.name] = try record.read(source, dataOffset: header.dataOffset)
      }
      return tensors
    case .npz(let source): return try NPZ.read(source, only: wanted)
    case .checkpoint(let checkpoint):
      return try Dictionary(uniqueKeysWithValues: Set(wanted).map { ($0, try checkpoint.read($0)) })
    }
  }

  /// The pickle of a zip file that `torch.save` wrote.
  private static func pickle(in zip: ZipReader) -> ZipReader.Entry? {
    zip.entries.first { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }
  }

  private static func format(of source: ByteSource) throws -> Format {
    let head = try source.bytes(at: 0, count: min(source.byteCount, 512))
    func begins(_ bytes: [UInt8], at place: Int = 0) -> Bool {
      head.dropFirst(place).starts(with: bytes)
    }
    func text(_ text: String, at place: Int = 0) -> Bool { begins(Array(text.utf8), at: place) }
    if text("PK\u{3}\u{4}") || text("PK\u{5}\u{6}") {
      let zip = try ZipReader(source)
      if pickle(in: zip) != nil { return .torch }
      if zip.entries.contains(where: { $0.name.hasSuffix(".npy") }) { return .npz }
      throw source.fault(
        at: 0, got: "a zip file without data.pkl or arrays", wanted: wanted,
        fix: "Unpack it, if the weights are in there.")
    }
    if begins(PickledTensors.legacyMagic) { return .torchLegacy }
    if head.count >= 2, head[0] == 0x80, (2...5).contains(head[1]) { return .pickle }
    if head.count >= 9, head[8] == UInt8(ascii: "{") { return .safetensors }
    let known: [(Bool, String, String)] = [
      (head.isEmpty, "an empty file", "Was it copied whole?"),
      (
        text("version https://git-lfs"), "a pointer of Git LFS",
        "Get the file itself: git lfs pull."
      ),
      (
        head.first { $0 > 0x20 } == UInt8(ascii: "<"), "a web page or XML",
        "Download the file itself."
      ),
      (begins([0x89, 0x48, 0x44, 0x46]), "an HDF5 file", "Convert it to safetensors."),
      (text("ustar", at: 257), "a tar file", "PyTorch before 0.2 wrote such; save it again."),
      (begins([0x1f, 0x8b]), "a file packed by gzip", "Unpack it: gunzip."),
      (
        head.count >= 12 && head.prefix(12).allSatisfy { $0 == 0 },
        "Paddle's parameters without names", "Read them with loadParams, or save a .pdparams."
      ),
    ]
    if let found = known.first(where: { $0.0 }) {
      let (_, what, fix) = found
      throw source.fault(.file, at: 0, got: what, wanted: wanted, fix: fix)
    }
    throw source.fault(at: 0, got: "other bytes", wanted: wanted)
  }

  private static let wanted =
    "weights as safetensors, a checkpoint of PyTorch, .pdparams or .npz"
}
