#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Bytes owned by one tensor or shared by its copies, aligned to 64.
final class TensorStorage: @unchecked Sendable {
  let bytes: Int
  let base: UnsafeMutableRawPointer

  init(bytes: Int) {
    self.bytes = bytes
    base = .allocate(byteCount: max(bytes, 64), alignment: 64)
  }

  deinit { base.deallocate() }
}

/// A row-major array in host memory: a value with copy on write.
public struct Tensor: @unchecked Sendable {
  /// The element type.
  public let dtype: DType
  /// The dimensions; all known.
  public let shape: Shape
  var storage: TensorStorage

  /// The number of elements.
  public var elementCount: Int { shape.elementCount }

  /// The size of the elements in bytes.
  public var bytes: Int { elementCount * dtype.bytes }

  /// A tensor whose elements are not yet set.
  public init(uninitialized shape: Shape, dtype: DType) {
    self.dtype = dtype
    self.shape = shape
    storage = TensorStorage(bytes: shape.elementCount * dtype.bytes)
  }

  /// A tensor of zeros.
  public init(zeros shape: Shape, dtype: DType) {
    self.init(uninitialized: shape, dtype: dtype)
    memset(storage.base, 0, bytes)
  }

  /// A tensor with these elements in row-major order.
  ///
  /// - Precondition: the count is the product of the dimensions.
  public init<S: TensorScalar>(_ elements: [S], shape: Shape) {
    precondition(
      elements.count == shape.elementCount, "\(elements.count) elements for shape \(shape)")
    self.init(uninitialized: shape, dtype: S.dtype)
    elements.withUnsafeBytes { source in
      if let base = source.baseAddress { storage.base.copyMemory(from: base, byteCount: bytes) }
    }
  }

  /// A vector with these elements.
  public init<S: TensorScalar>(_ elements: [S]) { self.init(elements, shape: [elements.count]) }

  /// A scalar.
  public init<S: TensorScalar>(scalar: S) { self.init([scalar], shape: []) }

  /// The elements in row-major order.
  ///
  /// - Precondition: `S` is the element type.
  public func elements<S: TensorScalar>(_ type: S.Type = S.self) -> [S] {
    precondition(S.dtype == dtype, "elements(\(S.dtype)) of a tensor of \(dtype)")
    return withUnsafeBytes { Array($0.bindMemory(to: S.self)) }
  }

  /// The elements as float64, whatever their type.
  public var doubles: [Double] {
    func read<S: TensorScalar>(_ type: S.Type) -> [Double] { elements(S.self).map(\.tensorValue) }
    return dispatch(read, read, read, read, read, read, read, read, read)
  }

  /// The tensor with its elements converted.
  public func cast(to target: DType) -> Tensor {
    if target == dtype { return self }
    let values = doubles
    func write<S: TensorScalar>(_ type: S.Type) -> Tensor {
      Tensor(values.map { S(tensorValue: $0) }, shape: shape)
    }
    return Tensor(uninitialized: [0], dtype: target)
      .dispatch(write, write, write, write, write, write, write, write, write)
  }

  /// The same elements under another shape with as many of them.
  public func reshaped(_ shape: Shape) -> Tensor {
    precondition(shape.elementCount == elementCount, "\(self.shape) reshaped to \(shape)")
    return Tensor(dtype: dtype, shape: shape, storage: storage)
  }

  private init(dtype: DType, shape: Shape, storage: TensorStorage) {
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
  }

  /// Calls `body` with the bytes of the elements.
  public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeRawBufferPointer(start: storage.base, count: bytes))
  }

  /// Calls `body` with the bytes of the elements, after a copy if they are shared.
  public mutating func withUnsafeMutableBytes<R>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> R
  ) rethrows -> R {
    if !isKnownUniquelyReferenced(&storage) {
      let copy = TensorStorage(bytes: bytes)
      copy.base.copyMemory(from: storage.base, byteCount: bytes)
      storage = copy
    }
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeMutableRawBufferPointer(start: storage.base, count: bytes))
  }

  /// Calls the function for the tensor's element type.
  private func dispatch<R>(
    _ f16: (Float16.Type) -> R, _ bf16: (BFloat16.Type) -> R, _ f32: (Float.Type) -> R,
    _ f64: (Double.Type) -> R, _ i8: (Int8.Type) -> R, _ u8: (UInt8.Type) -> R,
    _ i32: (Int32.Type) -> R, _ i64: (Int64.Type) -> R, _ b: (Bool.Type) -> R
  ) -> R {
    switch dtype {
    case .float16: f16(Float16.self)
    case .bfloat16: bf16(BFloat16.self)
    case .float32: f32(Float.self)
    case .float64: f64(Double.self)
    case .int8: i8(Int8.self)
    case .uint8: u8(UInt8.self)
    case .int32: i32(Int32.self)
    case .int64: i64(Int64.self)
    case .bool: b(Bool.self)
    }
  }
}

extension Tensor: Equatable {
  /// Same type, shape and bits.
  public static func == (a: Tensor, b: Tensor) -> Bool {
    a.dtype == b.dtype && a.shape == b.shape
      && a.withUnsafeBytes { x in b.withUnsafeBytes { y in x.elementsEqual(y) } }
  }
}

extension Tensor: CustomStringConvertible {
  /// Type, shape and the first elements.
  public var description: String {
    let head = doubles.prefix(8).map { "\($0)" }.joined(separator: ", ")
    return "\(dtype)\(shape)(\(head)\(elementCount > 8 ? ", ..." : ""))"
  }
}
