import ABNTensors
import Synchronization

/// cuDNN's backend interface: descriptors that are made, given attributes, and made final.
///
/// Source of names and numbers: cudnn_graph.h and the cuDNN backend API reference, 9.0. Its older
/// interface does not reach the kernels for 16 bits of newer cards.
final class CuDNN: @unchecked Sendable {
  // Sendable: the handle is used by one caller at a time, behind a lock.
  private typealias Status = Int32

  private let createDescriptor:
    @convention(c) (Int32, UnsafeMutablePointer<OpaquePointer?>) -> Int32
  private let destroyDescriptor: @convention(c) (OpaquePointer?) -> Int32
  private let setAttribute:
    @convention(c) (OpaquePointer?, Int32, Int32, Int64, UnsafeRawPointer) -> Int32
  private let getAttribute:
    @convention(c) (
      OpaquePointer?, Int32, Int32, Int64, UnsafeMutablePointer<Int64>, UnsafeMutableRawPointer?
    ) -> Int32
  private let finalizeDescriptor: @convention(c) (OpaquePointer?) -> Int32
  private let executePlan: @convention(c) (OpaquePointer?, OpaquePointer?, OpaquePointer?) -> Int32
  private let setStream: @convention(c) (OpaquePointer?, CUDAHandle) -> Int32
  private let lastError: @convention(c) (UnsafeMutablePointer<CChar>, Int) -> Void
  /// Of the library, as 10000 * major + 100 * minor + patch.
  let version: Int
  /// Where it was found.
  let path: String
  private let handle: OpaquePointer?
  private let lock = Mutex(())

  private static func library() throws -> Library {
    try Library(["libcudnn.so.9"], package: "the Python package nvidia-cudnn-cu13")
  }

  /// The version and place of the library, without a card.
  static func found() throws -> (version: Int, path: String) {
    let library = try library()
    let ask: @convention(c) () -> Int = try library.function("cudnnGetVersion")
    return (ask(), library.path)
  }

  /// Looks the library up; a device must be current.
  ///
  /// - Throws: `ABNError(.system)` where there is none of version 9.
  init() throws {
    let library = try Self.library()
    path = library.path
    createDescriptor = try library.function("cudnnBackendCreateDescriptor")
    destroyDescriptor = try library.function("cudnnBackendDestroyDescriptor")
    setAttribute = try library.function("cudnnBackendSetAttribute")
    getAttribute = try library.function("cudnnBackendGetAttribute")
    finalizeDescriptor = try library.function("cudnnBackendFinalize")
    executePlan = try library.function("cudnnBackendExecute")
    setStream = try library.function("cudnnSetStream")
    lastError = try library.function("cudnnGetLastErrorString")
    let ask: @convention(c) () -> Int = try library.function("cudnnGetVersion")
    version = ask()
    let make: @convention(c) (UnsafeMutablePointer<OpaquePointer?>) -> Int32 =
      try library.function("cudnnCreate")
    var made: OpaquePointer?
    let status = make(&made)
    guard status == 0 else {
      throw ABNError(
        .system, "cuDNN \(version)", got: "status \(status)", wanted: "a handle for the card",
        fix: "Check that the card has free memory, and that cuDNN fits the driver.")
    }
    handle = made
  }

  /// What an attribute's values are (cudnnBackendAttributeType_t).
  enum ValueType: Int32 {
    case handle = 0
    case dataType = 1
    case int64 = 3
    case float = 4
    case double = 5
    case pointer = 6
    case convolutionMode = 7
    case heuristicMode = 8
    case numericalNote = 11
    case descriptor = 15
  }

  /// The kinds of descriptors (cudnnBackendDescriptorType_t).
  enum Kind: Int32 {
    case convolution = 1
    case engine = 2
    case engineConfiguration = 3
    case heuristics = 4
    case plan = 5
    case forward = 10
    case weightGradient = 11
    case dataGradient = 12
    case graph = 15
    case variantPack = 16
    case tensor = 17
  }

  /// A descriptor, destroyed with its last owner.
  final class Descriptor: @unchecked Sendable {
    // Sendable: attributes are set by the thread that makes it, before anyone else has it.
    fileprivate let raw: OpaquePointer?
    private let library: CuDNN

    fileprivate init(_ raw: OpaquePointer?, of library: CuDNN) {
      self.raw = raw
      self.library = library
    }
    deinit { _ = library.destroyDescriptor(raw) }

    /// Sets an attribute by its number.
    func set<E: BitwiseCopyable>(_ attribute: Int32, _ type: ValueType, _ values: [E]) throws {
      let status = values.withUnsafeBytes {
        library.setAttribute(
          raw, attribute, type.rawValue, Int64(values.count), $0.baseAddress ?? noBytes)
      }
      guard status == 0 else { throw library.failure("attribute \(attribute)", status) }
    }

    /// Sets an attribute to other descriptors, which must live as long as this one.
    func set(_ attribute: Int32, _ descriptors: [Descriptor]) throws {
      try set(attribute, .descriptor, descriptors.map { UInt(bitPattern: $0.raw) })
    }

    /// Sets the attribute that wants the library's handle.
    func setHandle(_ attribute: Int32) throws {
      try set(attribute, .handle, [UInt(bitPattern: library.handle)])
    }

    /// Ends the setting of attributes.
    ///
    /// - Throws: `ABNError(.unsupported)` where the library declines the combination.
    func finalize() throws {
      let status = library.finalizeDescriptor(raw)
      guard status == 0 else { throw library.failure("descriptor", status) }
    }

    /// At most `count` numbers of an attribute.
    func numbers<E: FixedWidthInteger>(_ attribute: Int32, _ type: ValueType, most count: Int)
      -> [E]
    {
      var values = [E](repeating: 0, count: count)
      var found: Int64 = 0
      let status = values.withUnsafeMutableBytes {
        library.getAttribute(
          raw, attribute, type.rawValue, Int64(count), &found, $0.baseAddress)
      }
      return status == 0 ? Array(values.prefix(Int(found))) : []
    }

    /// The number of values of an attribute.
    func count(_ attribute: Int32, _ type: ValueType) -> Int {
      var found: Int64 = 0
      _ = library.getAttribute(raw, attribute, type.rawValue, 0, &found, nil)
      return Int(found)
    }

    /// Fills descriptors with those of an attribute.
    func descriptors(_ attribute: Int32, _ kind: Kind, most count: Int) throws -> [Descriptor] {
      let made = try (0..<count).map { _ in try library.make(kind) }
      var raws = made.map(\.raw)
      var found: Int64 = 0
      let status = raws.withUnsafeMutableBytes {
        library.getAttribute(
          raw, attribute, ValueType.descriptor.rawValue, Int64(count), &found, $0.baseAddress)
      }
      return status == 0 ? Array(made.prefix(Int(found))) : []
    }
  }

  /// A new descriptor.
  func make(_ kind: Kind) throws -> Descriptor {
    var raw: OpaquePointer?
    let status = createDescriptor(kind.rawValue, &raw)
    guard status == 0 else { throw failure("descriptor \(kind)", status) }
    return Descriptor(raw, of: self)
  }

  /// Puts a plan on a stream.
  func execute(_ plan: Descriptor, _ pack: Descriptor, on stream: CUDAHandle) throws {
    try lock.withLock { _ in
      _ = setStream(handle, stream)
      let status = executePlan(handle, plan.raw, pack.raw)
      guard status == 0 else { throw failure("execution of a plan", status) }
    }
  }

  private func failure(_ what: String, _ status: Int32) -> ABNError {
    var text = [CChar](repeating: 0, count: 512)
    lastError(&text, text.count)
    let said = String(
      decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return ABNError(
      .unsupported, "cuDNN \(version), \(what)",
      got: "status \(status)\(said.isEmpty ? "" : ": \(said)")",
      wanted: "success")
  }
}

/// Where an empty list begins: it is not read.
nonisolated(unsafe) private let noBytes = UnsafeRawPointer(
  UnsafeMutableRawPointer.allocate(
    byteCount: 16, alignment: 16))

extension DType {
  /// cudnnDataType_t.
  var cuDNNType: Int32? {
    switch self {
    case .float32: 0
    case .float64: 1
    case .float16: 2
    case .bfloat16: 9
    default: nil
    }
  }
}
