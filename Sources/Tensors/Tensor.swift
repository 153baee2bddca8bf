#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Bytes owned by one tensor or shared by its copies, aligned to 64.
final class TensorStorage: @unchecked Sendable {
  let bytes: Int
  let base: UnsafeMutableRawPointer
  /// Whether the bytes are pages of their own, which the system fills with zeros when they are
  /// first touched.
  private let isMapped: Bool
  /// Why there are no bytes although some were asked for.
  let failure: ABNError?

  /// From this size on the machine is asked what it has, and zeros are left to the system.
  private static let largeBytes = 64 << 20

  /// Room for this many bytes, or none and a `failure` where the machine has not so many.
  init(bytes wanted: Int, zeroed: Bool = false) {
    var made: UnsafeMutableRawPointer?
    var isMapped = false
    if wanted < Self.largeBytes || MachineMemory.bytes.map({ wanted <= $0 }) ?? true {
      if zeroed, wanted >= Self.largeBytes {
        let pages = mmap(
          nil, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if let pages, pages != MAP_FAILED { (made, isMapped) = (pages, true) }
      } else if posix_memalign(&made, 64, max(wanted, 64)) == 0, zeroed, let made {
        memset(made, 0, wanted)
      }
    }
    if let made {
      (base, bytes, failure) = (made, wanted, nil)
    } else {
      base = Self.nothing
      bytes = 0
      failure = ABNError(
        .system, "memory of a tensor", got: describeBytes(wanted),
        wanted: MachineMemory.bytes.map { "at most the \(describeBytes($0)) of this machine" }
          ?? "bytes that the system gives", fix: "Choose smaller sizes.")
    }
    self.isMapped = isMapped
  }

  /// No bytes, because of a mistake of the caller.
  init(failure: ABNError) {
    (base, bytes, isMapped) = (Self.nothing, 0, false)
    self.failure = failure
  }

  /// An address that may be read and written for no byte at all.
  nonisolated(unsafe) private static let nothing = UnsafeMutableRawPointer.allocate(
    byteCount: 64, alignment: 64)

  deinit {
    if isMapped {
      munmap(base, bytes)
    } else if base != Self.nothing {
      free(base)
    }
  }
}

/// A row-major array in host memory: a value with copy on write.
///
/// Initializers do not throw, so that they can stand in any expression. One that is given what
/// cannot be had (a negative or unknown dimension, more elements than the machine has memory for,
/// another number of elements than the shape) makes a tensor of the shape without elements, whose
/// `failure` says why. Everything that takes tensors and can throw (a run, a layer, a file that is
/// written) throws that error; `checked` throws it at once.
public struct Tensor: @unchecked Sendable {
  /// The element type.
  public let dtype: DType
  /// The dimensions; all known, unless there is a `failure`.
  public let shape: Shape
  var storage: TensorStorage

  /// Why the tensor could not be made; nil for every tensor that has its elements.
  public var failure: ABNError? { storage.failure }

  /// The number of elements; 0 where there is a `failure`.
  public var elementCount: Int { failure == nil ? shape.elementCount : 0 }

  /// The size of the elements in bytes; 0 where there is a `failure`.
  public var bytes: Int { elementCount * dtype.bytes }

  /// The tensor itself, if it could be made.
  ///
  /// - Throws: its `failure`: `ABNError(.shape)` or, for want of memory, `.system`.
  public func checked() throws -> Tensor {
    if let failure { throw failure }
    return self
  }

  /// Whether both are one value in the same bytes, neither changed since one was made of the other.
  package func isSame(as other: Tensor) -> Bool {
    storage === other.storage && shape == other.shape && dtype == other.dtype
  }

  private init(_ shape: Shape, _ dtype: DType, zeroed: Bool) {
    self.dtype = dtype
    self.shape = shape
    storage =
      switch shape.checkedElementCount?.multipliedReportingOverflow(by: dtype.bytes) {
      case (let bytes, false)?: TensorStorage(bytes: bytes, zeroed: zeroed)
      default:
        TensorStorage(
          failure: ABNError(
            .shape, "tensor", got: "\(dtype)\(shape.dimensions)",
            wanted: "dimensions of at least 0 whose bytes can be counted in 63 bits"))
      }
  }

  /// A tensor whose elements are not yet set.
  package init(uninitialized shape: Shape, dtype: DType) {
    self.init(shape, dtype, zeroed: false)
  }

  /// A tensor of zeros. From 64 MiB on its pages take memory when they are first touched.
  public init(zeros shape: Shape, dtype: DType) {
    self.init(shape, dtype, zeroed: true)
  }

  /// A tensor with these elements in row-major order.
  ///
  /// Another count than the product of the dimensions is a `failure`.
  public init<S: TensorScalar>(_ elements: [S], shape: Shape) {
    guard elements.count == shape.checkedElementCount else {
      self.init(
        dtype: S.dtype, shape: shape,
        storage: TensorStorage(
          failure: ABNError(
            .shape, "tensor", got: "\(elements.count) elements",
            wanted: "as many as shape \(shape.dimensions) has")))
      return
    }
    self.init(uninitialized: shape, dtype: S.dtype)
    guard failure == nil else { return }
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
  /// Those of a tensor of another type are converted as `cast(to:)` converts, and a warning names
  /// the line, once: to write `cast(to:)`, or `doubles`, is to say that a conversion is meant.
  public func elements<S: TensorScalar>(
    _ type: S.Type = S.self, file: StaticString = #fileID, line: UInt = #line
  ) -> [S] {
    guard S.dtype != dtype else { return ownElements(S.self) }
    UserWarning.once(
      "elements(\(S.self).self) of a tensor of \(dtype) are converted",
      at: SourceLocation(fileID: file, line: line),
      fix: "Write cast(to: .\(S.dtype)) before it, or doubles, where that is meant.")
    return cast(to: S.dtype).ownElements(S.self)
  }

  /// The elements, of the tensor's own type.
  private func ownElements<S: TensorScalar>(_ type: S.Type) -> [S] {
    withUnsafeBytes { Array($0.bindMemory(to: S.self)) }
  }

  /// The elements as float64, whatever their type.
  public var doubles: [Double] {
    func read<S: TensorScalar>(_ type: S.Type) -> [Double] {
      ownElements(S.self).map(\.tensorValue)
    }
    return dispatch(read, read, read, read, read, read, read, read, read)
  }

  /// The tensor with its elements converted.
  public func cast(to target: DType) -> Tensor {
    if target == dtype { return self }
    if failure != nil { return Tensor(dtype: target, shape: shape, storage: storage) }
    let values = doubles
    func write<S: TensorScalar>(_ type: S.Type) -> Tensor {
      Tensor(values.map { S(tensorValue: $0) }, shape: shape)
    }
    return Tensor(uninitialized: [0], dtype: target)
      .dispatch(write, write, write, write, write, write, write, write, write)
  }

  /// A tensor that could not be made, for a reason that a caller finds in its `failure`.
  package init(failure: any Error, shape: Shape, dtype: DType) {
    let known =
      failure as? ABNError
      ?? ABNError(.system, "tensor", got: "\(failure)", wanted: "its elements")
    self.init(dtype: dtype, shape: shape, storage: TensorStorage(failure: known))
  }

  /// The same elements under another shape with as many of them; with another number of them it is
  /// a `failure`.
  public func reshaped(_ shape: Shape) -> Tensor {
    guard failure != nil || shape.checkedElementCount == elementCount else {
      return Tensor(
        dtype: dtype, shape: shape,
        storage: TensorStorage(
          failure: ABNError(
            .shape, "tensor", got: "shape \(shape.dimensions) for \(elementCount) elements",
            wanted: "as many elements as \(self.shape) has")))
    }
    return Tensor(dtype: dtype, shape: shape, storage: storage)
  }

  private init(dtype: DType, shape: Shape, storage: TensorStorage) {
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
  }

  /// Calls `body` with the bytes of the elements: none where there is a `failure`.
  public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeRawBufferPointer(start: storage.base, count: bytes))
  }

  /// Calls `body` with the bytes of the elements, after a copy if they are shared.
  public mutating func withUnsafeMutableBytes<R>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> R
  ) rethrows -> R {
    if failure == nil, !isKnownUniquelyReferenced(&storage) {
      let copy = TensorStorage(bytes: bytes)
      guard copy.failure == nil else {
        storage = copy
        return try body(UnsafeMutableRawBufferPointer(start: storage.base, count: 0))
      }
      copy.base.copyMemory(from: storage.base, byteCount: bytes)
      storage = copy
    }
    defer { withExtendedLifetime(storage) {} }
    return try body(UnsafeMutableRawBufferPointer(start: storage.base, count: bytes))
  }

  /// Takes other memory, its elements not set, where this tensor's is shared: for who writes all of
  /// them, so that nothing is copied.
  package mutating func leaveShared() {
    if failure == nil, !isKnownUniquelyReferenced(&storage) {
      self = Tensor(uninitialized: shape, dtype: dtype)
    }
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
    a.dtype == b.dtype && a.shape == b.shape && a.failure == b.failure
      && a.withUnsafeBytes { x in b.withUnsafeBytes { y in x.elementsEqual(y) } }
  }
}

extension Tensor: CustomStringConvertible {
  /// Type, shape and the first elements, or why there are none.
  public var description: String {
    if let failure { return "\(dtype)\(shape)(\(failure))" }
    let head = doubles.prefix(8).map { "\($0)" }.joined(separator: ", ")
    return "\(dtype)\(shape)(\(head)\(elementCount > 8 ? ", ..." : ""))"
  }
}
