import ABNTensors

/// The tensors of a pickle that a Python program saved, by name, whatever lies beside them.
///
/// A name is the keys on the way from the root, joined by dots: `state_dict.conv1.weight`. Of
/// objects the attributes count, and of PyTorch's modules their parameters, buffers and children,
/// so that a network that was saved whole has the names of its state.
///
/// Source: PyTorch, `torch/serialization.py` and `torch/_utils.py`.
struct PickledTensors {
  /// A tensor of PyTorch, or an array of numpy.
  enum Value {
    case tensor(TorchTensor)
    case array(PickleArray)
  }

  /// Where the elements of PyTorch's storages stand.
  enum Storages {
    /// There are none: a pickle of arrays.
    case none
    /// An entry of the zip file each, in this folder.
    case zip(ZipReader, [String: ZipReader.Entry])
    /// One behind the other, at these bytes.
    case rows([String: Range<Int>])
  }

  let source: ByteSource
  /// What the bytes in errors count in: the file, or an entry of a zip file.
  private let pickle: ByteSource
  private(set) var names: [String] = []
  private var values: [String: Value] = [:]
  private var storages = Storages.none
  private let progress = Progress()

  /// What has been read of a file.
  private final class Progress {
    /// Entries of a zip file whose checksums were right.
    var verified: Set<Int> = []
    private var bytes = 0

    /// Counts bytes that are read or unpacked next: many tensors may share a storage, and few bytes
    /// unpack to many, but what a file asks for in all is a small multiple of its own size.
    func admit(_ count: Int, _ source: ByteSource, at place: Int) throws {
      let most = 64 * (source.byteCount + 1 << 10)
      guard count <= most - bytes else {
        throw source.fault(
          .unsupported, at: place, got: "\(count) bytes to read, after \(bytes)",
          wanted: "at most \(most) in this file",
          fix: "Save it as PyTorch does: without compression.")
      }
      bytes += count
    }
  }

  /// Children, parameters and buffers of a module stand under these attributes.
  private static let moduleAttributes: Set<String> = ["_modules", "_parameters", "_buffers"]
  private static let mostDepth = 64

  /// A pickle of arrays: `.pdparams`.
  init(pickle source: ByteSource) throws {
    (self.source, pickle) = (source, source)
    var reader = try PickleReader(source, dialect: .checkpoint)
    try collect(reader.readCheckpoint(), reader)
    guard reader.place == reader.bytes.count else {
      throw source.fault(
        at: reader.place, got: "\(reader.bytes.count - reader.place) bytes after the pickle",
        wanted: "the end of the file", fix: "The file is damaged.")
    }
  }

  /// What begins the file of `torch.save` before version 1.6, and where it goes on: a pickle of the
  /// number 0x1950a86a20f9469cfc6c.
  static let legacyMagic: [UInt8] = [
    0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
  ]

  /// A file of `torch.save` before version 1.6: pickles of a magic number, a version, the machine,
  /// the object and the keys of the storages, and then for each of these the number of its elements
  /// in 64 bits and the elements.
  init(legacy source: ByteSource) throws {
    (self.source, pickle) = (source, source)
    var reader = try PickleReader(source, dialect: .checkpoint)
    reader.place = Self.legacyMagic.count
    let start = reader.place
    guard case .integer(1001) = try reader.readCheckpoint() else {
      throw source.fault(
        .unsupported, at: start, got: "another version of PyTorch's older format",
        wanted: "version 1001")
    }
    let machine = try reader.readCheckpoint()
    if case .container(let number) = machine {
      let container = reader.containers[number]
      for (key, item) in zip(container.keys ?? [], container.items) {
        guard case .bool(false) = item,
          try reader.text(key)?.elementsEqual("little_endian".utf8) == true
        else { continue }
        throw source.fault(
          .unsupported, at: start, got: "elements of a big-endian machine", wanted: "little endian")
      }
    }
    try collect(reader.readCheckpoint(), reader)
    storages = .rows(try Self.rows(&reader))
  }

  /// A file of `torch.save` since version 1.6: a zip file with a pickle and an entry for each
  /// storage.
  init(zip: ZipReader, pickle entry: ZipReader.Entry) throws {
    source = zip.source
    let folder = String(entry.name.dropLast("data.pkl".count))
    if let order = zip.entries.first(where: { $0.name == folder + "byteorder" }) {
      let text = try Self.contents(of: order, zip, progress)
      guard text.elementsEqual("little".utf8) else {
        throw source.fault(
          .unsupported, at: order.tableOffset,
          got: "byte order \(quoted(String(decoding: text.prefix(16), as: UTF8.self)))",
          wanted: "little")
      }
    }
    pickle = ByteSource(
      try Self.contents(of: entry, zip, progress), path: source.path,
      kind: "\(source.kind) \(entry.name)",
      limits: source.limits)
    var reader = try PickleReader(pickle, dialect: .checkpoint)
    try collect(reader.readCheckpoint(), reader)
    let prefix = folder + "data/"
    storages = .zip(
      zip,
      Dictionary(
        uniqueKeysWithValues: zip.entries.filter { $0.name.hasPrefix(prefix) }.map {
          (String($0.name.dropFirst(prefix.count)), $0)
        }))
  }

  /// The tensor of a name that `names` has.
  ///
  /// - Throws: `ABNError(.unsupported)` for an element type that is not read, `.file` where
  ///   elements are missing or the file is damaged, `.data` for elements that their type does not
  ///   have.
  func read(_ name: String) throws -> Tensor {
    switch values[name]! {
    case .array(let array):
      if let tensor = array.tensor { return tensor }
      let failure = array.failure
      throw ABNError(
        failure?.category ?? .file, "\(source.kind) file \(quoted(source.path)): \(quoted(name))",
        at: failure?.location, got: failure?.got ?? "an array without elements",
        wanted: failure?.wanted ?? "its state", fix: "Convert it before it is saved.")
    case .tensor(let tensor):
      let key = tensor.storage.key
      switch storages {
      case .rows(let rows):
        if let row = rows[key] {
          return try tensor.read(source, pickle: pickle, name: name, storageBytes: row.count) {
            try progress.admit($0.count, source, at: row.lowerBound)
            return try source.bytes(at: row.lowerBound + $0.lowerBound, count: $0.count)
          }
        }
      case .zip(let zip, let entries):
        if let entry = entries[key] {
          return try tensor.read(source, pickle: pickle, name: name, storageBytes: entry.bytes) {
            try part($0, of: entry, zip)
          }
        }
      case .none: break
      }
      throw pickle.fault(
        at: tensor.at, got: "tensor \(quoted(name)) without its elements",
        wanted: "the storage \(quoted(key))", fix: "The file is cut off or damaged.")
    }
  }

  /// Bytes of a storage. The first time it is read whole, so that its checksum is looked at.
  private func part(
    _ range: Range<Int>, of entry: ZipReader.Entry, _ zip: ZipReader
  ) throws -> [UInt8] {
    if progress.verified.contains(entry.headerOffset), entry.coding == .stored {
      try progress.admit(range.count, source, at: entry.tableOffset)
      return try source.bytes(at: entry.dataOffset + range.lowerBound, count: range.count)
    }
    let whole = try Self.contents(of: entry, zip, progress)
    progress.verified.insert(entry.headerOffset)
    return Array(whole[range])
  }

  private static func contents(
    of entry: ZipReader.Entry, _ zip: ZipReader, _ progress: Progress
  ) throws -> [UInt8] {
    try progress.admit(entry.bytes, zip.source, at: entry.tableOffset)
    let stream = try zip.stream(entry)
    let bytes = try stream.bytes(entry.bytes)
    try zip.check(entry, stream)
    return bytes
  }

  /// Where each storage's elements stand, from the list of their keys on.
  private static func rows(_ reader: inout PickleReader) throws -> [String: Range<Int>] {
    let source = reader.source
    guard case .container(let list) = try reader.readCheckpoint() else {
      throw reader.fault("no list of storages", "the keys of the storages")
    }
    var rows: [String: Range<Int>] = [:]
    for item in reader.containers[list].items {
      guard let text = try reader.text(item) else {
        throw reader.fault("\(item.name) as the key of a storage", "a text")
      }
      let key = String(decoding: text, as: UTF8.self)
      // One of a class that is not known has an unknown size: what follows it cannot be found.
      guard let storage = reader.storages[key] else { break }
      let place = reader.place
      let count = try reader.integer(UInt64.self)
      let (bytes, overflow) = count.multipliedReportingOverflow(by: UInt64(storage.type.bytes))
      guard !overflow, bytes <= source.byteCount - reader.place else {
        throw source.fault(
          at: place, got: "\(count) elements of storage \(quoted(key))",
          wanted: "as many as fit into the \(source.byteCount - reader.place) bytes that follow",
          fix: "The file is cut off or damaged.")
      }
      rows[key] = reader.place..<reader.place + Int(bytes)
      reader.place += Int(bytes)
    }
    return rows
  }

  /// Names everything in a value that is a tensor or an array; each list and dictionary once, so
  /// that one that many others refer to costs no more.
  private mutating func collect(_ root: PickleValue, _ reader: PickleReader) throws {
    var seen: Set<Int> = []
    var nameBytes = 0
    var waiting: [(path: String, depth: Int, value: PickleValue)] = [("", 0, root)]
    while let (path, depth, value) = waiting.popLast() {
      switch value {
      case .tensor(let tensor): note(path, .tensor(tensor))
      case .array(let array): note(path, .array(array))
      case .tuple(let tuple):
        // Paddle's name and array.
        if tuple.items.count == 2, case .array(let array) = tuple.items[1],
          try reader.text(tuple.items[0]) != nil
        {
          note(path, .array(array))
        } else {
          try add(tuple.items.enumerated().map { (.integer($0), $1) })
        }
      case .container(let number):
        guard seen.insert(number).inserted else { continue }
        let container = reader.containers[number]
        var items: [(PickleValue, PickleValue)] =
          container.keys.map { Array(zip($0, container.items)) }
          ?? container.items.enumerated().map { (.integer($0), $1) }
        if let attributes = container.attributes, seen.insert(attributes).inserted {
          let inner = reader.containers[attributes]
          items += Array(zip(inner.keys ?? [], inner.items))
        }
        try add(items)
      default: continue
      }
      guard nameBytes <= 4 * source.byteCount + 1 << 16 else {
        throw source.fault(
          at: 0, got: "more than \(nameBytes) bytes of names",
          wanted: "at most four times the file's")
      }

      func add(_ items: [(key: PickleValue, value: PickleValue)]) throws {
        guard depth < Self.mostDepth else { return }
        for (key, value) in items.reversed() {
          switch value {
          case .tensor, .array, .tuple, .container: break
          default: continue
          }
          guard let part = try Self.part(key, reader) else { continue }
          let isLeftOut = Self.moduleAttributes.contains(part)
          let name = isLeftOut ? path : path.isEmpty ? part : path + "." + part
          nameBytes += name.utf8.count
          if name.utf8.count <= PickleReader.mostNameBytes {
            waiting.append((name, depth + 1, value))
          }
        }
      }
    }
  }

  private mutating func note(_ name: String, _ value: Value) {
    guard values[name] == nil else { return }
    values[name] = value
    names.append(name)
  }

  /// A part of a name: nil for a key that is none.
  private static func part(_ key: PickleValue, _ reader: PickleReader) throws -> String? {
    if case .integer(let number) = key { return "\(number)" }
    guard let text = try reader.text(key), text.count <= PickleReader.mostNameBytes else {
      return nil
    }
    return try String.checked(text) { reader.fault($0, $1) }
  }
}
