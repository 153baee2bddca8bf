import ABNTensors

/// The element types of PyTorch, under the names that it has for them.
enum TorchType: String, CaseIterable {
  case float32, float64, float16, bfloat16, int64, int32, int16, int8, uint8, bool
  case uint16, uint32, uint64, complex32, complex64, complex128, quint8, qint8, qint32
  case float8_e4m3fn, float8_e5m2, float8_e8m0fnu, float8_e4m3fnuz, float8_e5m2fnuz
  /// Bytes, of whatever type the tensor says.
  case untyped

  /// The element type of a class of storages: `FloatStorage`.
  init?(storage name: String) {
    switch name {
    case "FloatStorage": self = .float32
    case "DoubleStorage": self = .float64
    case "HalfStorage": self = .float16
    case "BFloat16Storage": self = .bfloat16
    case "LongStorage": self = .int64
    case "IntStorage": self = .int32
    case "ShortStorage": self = .int16
    case "CharStorage": self = .int8
    case "ByteStorage": self = .uint8
    case "BoolStorage": self = .bool
    case "ComplexFloatStorage": self = .complex64
    case "ComplexDoubleStorage": self = .complex128
    case "QUInt8Storage": self = .quint8
    case "QInt8Storage": self = .qint8
    case "QInt32Storage": self = .qint32
    case "UntypedStorage": self = .untyped
    default: return nil
    }
  }

  /// Bytes of one element.
  var bytes: Int {
    switch self {
    case .complex128: 16
    case .complex64: 8
    case .complex32, .qint32: 4
    default: foreign?.bytes ?? DType(rawValue: rawValue)?.bytes ?? 1
    }
  }

  /// The type here; nil: none that holds its values.
  var dtype: DType? { foreign?.dtype ?? DType(rawValue: rawValue) }

  /// How elements are read where the type here is another one.
  var foreign: ForeignElement? {
    switch self {
    case .int16: .int16
    case .uint16: .uint16
    case .uint32: .uint32
    case .uint64: .uint64
    case .float8_e4m3fn: .float8E4M3
    case .float8_e5m2: .float8E5M2
    case .float8_e8m0fnu: .float8E8M0
    case .float8_e4m3fnuz: .float8E4M3FNUZ
    case .float8_e5m2fnuz: .float8E5M2FNUZ
    default: nil
    }
  }
}

/// A row of elements that tensors are parts of.
final class TorchStorage {
  let key: String
  let type: TorchType
  /// The first element of the part that tensors count from.
  let first: Int

  init(key: String, type: TorchType, first: Int) {
    (self.key, self.type, self.first) = (key, type, first)
  }
}

/// A tensor of a checkpoint: which elements of a storage, in which order.
final class TorchTensor {
  let storage: TorchStorage
  let type: TorchType
  /// The storage's element that stands first.
  let first: Int
  let shape: [Int]
  /// From one element to the next along each axis, in elements of the storage.
  let strides: [Int]
  /// The byte of the pickle at which it is made, for errors.
  let at: Int

  init(
    storage: TorchStorage, type: TorchType, first: Int, shape: [Int], strides: [Int], at: Int
  ) {
    (self.storage, self.type, self.first) = (storage, type, first)
    (self.shape, self.strides, self.at) = (shape, strides, at)
  }

  /// The elements from the first to the last that it has, counted in the storage; nil where it has
  /// none or the numbers overflow.
  private var extent: Range<Int>? {
    var last = storage.first
    for (size, stride) in [(2, first)] + Array(zip(shape, strides)) {
      let (step, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflows) = last.addingReportingOverflow(step)
      if overflow || overflows || sum == Int.max { return nil }
      last = sum
    }
    return storage.first + first..<last + 1
  }

  /// Reads the elements.
  ///
  /// - Parameters:
  ///   - source: the file.
  ///   - pickle: what `at` counts in, for errors.
  ///   - name: for errors.
  ///   - bytes: reads a range of the storage's bytes.
  ///   - storageBytes: those that the file has of it.
  func read(
    _ source: ByteSource, pickle: ByteSource, name: String, storageBytes: Int,
    bytes: (Range<Int>) throws -> [UInt8]
  ) throws -> Tensor {
    func fault(
      _ got: String, _ wanted: String, _ category: ABNError.Category = .file, fix: String = ""
    ) -> ABNError {
      pickle.fault(
        category, at: at, got: "tensor \(quoted(name)): \(got)", wanted: wanted, fix: fix)
    }
    guard let dtype = type.dtype, storage.type == type || storage.type == .untyped else {
      throw fault(
        "element type \(type.rawValue)",
        "one of \(TorchType.allCases.filter { $0.dtype != nil }.map(\.rawValue).joined(separator: ", "))",
        .unsupported, fix: "Convert it before it is saved.")
    }
    guard let size = checkedBytes(of: shape, dtype) else {
      throw fault("shape \(Shape(shape))", "fewer than 2^60 elements")
    }
    // Tensors may share elements, but no checkpoint says all of them many times.
    let most = 4 * max(source.byteCount, 1 << 10)
    guard size <= most else { throw fault("\(size) bytes", "at most \(most) in this file") }
    try source.admit(dimensions: shape.count, bytes: size) { fault($0, $1, fix: $2) }
    guard source.meter.elementBytes <= most else {
      throw fault("\(source.meter.elementBytes) bytes of elements", "at most \(most) in this file")
    }
    if size == 0 { return try Tensor(uninitialized: Shape(shape), dtype: dtype).checked() }
    guard let extent, extent.upperBound <= storageBytes / type.bytes else {
      throw fault(
        "elements beyond the \(storageBytes / type.bytes) of its storage",
        "a storage that holds shape \(Shape(shape))", fix: "The file is cut off or damaged.")
    }
    let found = try bytes(extent.lowerBound * type.bytes..<extent.upperBound * type.bytes)
    return try tensor(inOrder(found), dtype) { fault($0, $1, .data) }
  }

  /// The elements in row-major order.
  private func inOrder(_ found: [UInt8]) -> [UInt8] {
    var rowMajor: [Int] = []
    var next = 1
    for size in shape.reversed() {
      rowMajor.insert(next, at: 0)
      next *= size
    }
    let isRowMajor = zip(shape, zip(strides, rowMajor)).allSatisfy { $0 == 1 || $1.0 == $1.1 }
    if isRowMajor { return found }
    let size = type.bytes
    return [UInt8](unsafeUninitializedCapacity: next * size) { target, filled in
      found.withUnsafeBytes { found in
        var index = [Int](repeating: 0, count: shape.count)
        var place = 0
        let target = UnsafeMutableRawBufferPointer(target)
        for element in 0..<next {
          for byte in 0..<size { target[element * size + byte] = found[place * size + byte] }
          var axis = shape.count - 1
          while axis >= 0 {
            index[axis] += 1
            place += strides[axis]
            if index[axis] < shape[axis] { break }
            place -= strides[axis] * shape[axis]
            index[axis] = 0
            axis -= 1
          }
        }
      }
      filled = next * size
    }
  }

  private func tensor(
    _ bytes: [UInt8], _ dtype: DType, _ fault: (String, String) -> ABNError
  ) throws -> Tensor {
    var tensor = try Tensor(uninitialized: Shape(shape), dtype: dtype).checked()
    let source = ByteSource(bytes, path: "", kind: "tensor")
    if let foreign = type.foreign {
      do { try foreign.read(source, at: 0, into: &tensor) } catch let error as ABNError {
        throw fault(error.got, error.wanted)
      }
    } else {
      try tensor.withUnsafeMutableBytes { try source.read(at: 0, into: $0) }
    }
    if tensor.firstInvalidBoolean != nil {
      throw fault("a boolean that is neither 0 nor 1", "0 or 1")
    }
    return tensor
  }
}
