import ABNTensors
import CDNNL

/// A logical shape, an element type and a physical layout; immutable.
package final class DNNLDescriptor: @unchecked Sendable {
  // Sendable: the handle is never changed after init, and reading it is thread-safe.
  package let handle: OpaquePointer

  /// The logical sizes: N, C, spatial; O, I, spatial; G, O, I, spatial; rows, columns.
  package let dims: [Int]
  /// The element type; nil for the library's own (workspaces of other types).
  package let dtype: DType?
  /// Whether the layout is left for a primitive to choose.
  package let isAny: Bool
  /// Bytes of a buffer for the tensor, padding included; 0 for `.any`.
  package let byteCount: Int
  /// The sizes with padding; empty for `.any`.
  package let paddedDims: [Int]
  /// Elements between outermost blocks along each axis; empty where the layout is open or opaque.
  package let strides: [Int]
  /// The dense innermost blocks, outer to inner: axis and size.
  package let innerBlocks: [(axis: Int, size: Int)]
  /// The named layout of these bytes, the first that fits of plain, channels last, blocked.
  ///
  /// Axes of size 1 put no demand on strides, so a tensor of one channel or of one pixel is plain
  /// in channels-last memory too; `matches` answers for each.
  package let layout: DNNLLayout

  /// A descriptor of `dims` in `format`.
  ///
  /// Throws `.unsupported` for element types that oneDNN does not know and `.system` where the
  /// library refuses (a format without a form at this rank, strides that overlap).
  package convenience init(_ dims: [Int], _ dtype: DType, _ format: DNNLFormat) throws(ABNError) {
    guard let type = Self.code(dtype) else {
      throw ABNError(
        .unsupported, "oneDNN descriptor", got: "element type \(dtype.rawValue)",
        wanted: "float16, bfloat16, float32, float64, int8, uint8 or int32")
    }
    var steps: [Int64] = []
    let code: Int32
    switch format {
    case .any: code = ABN_DNNL_ANY
    case .plain: code = ABN_DNNL_PLAIN
    case .channelsLast: code = ABN_DNNL_CHANNELS_LAST
    case .blocked(8): code = ABN_DNNL_BLOCKED8
    case .blocked(16): code = ABN_DNNL_BLOCKED16
    case .blocked(let size):
      throw ABNError(
        .unsupported, "oneDNN descriptor", got: "blocks of \(size) channels", wanted: "8 or 16")
    case .strides(let given):
      guard given.count == dims.count else {
        throw ABNError(
          .shape, "oneDNN descriptor", got: "\(given.count) strides for \(dims.count) axes",
          wanted: "one stride for each axis")
      }
      code = ABN_DNNL_STRIDED
      steps = given.map(Int64.init)
    }
    var made: OpaquePointer?
    let status = abn_dnnl_descriptor_create(
      Int32(dims.count), dims.map(Int64.init), type, code, steps, &made)
    try DNNL.check(status, "descriptor", "\(dtype.rawValue) \(dims) \(format)")
    try self.init(owning: made!)
  }

  /// Takes over a handle.
  package init(owning handle: OpaquePointer) throws(ABNError) {
    var found = abn_dnnl_layout()
    let status = abn_dnnl_descriptor_layout(handle, &found)
    if status != ABN_DNNL_SUCCESS {
      abn_dnnl_descriptor_destroy(handle)
      throw DNNL.failure(status, "descriptor", "its own layout")
    }
    self.handle = handle
    let rank = Int(found.rank)
    let blocks = Int(found.inner_blocks)
    dims = withUnsafeBytes(of: found.dims) { Self.numbers($0, rank) }
    dtype = Self.dtype(found.type)
    isAny = found.is_any != 0
    byteCount = Int(found.bytes)
    let open = found.is_blocked == 0
    paddedDims = isAny ? [] : withUnsafeBytes(of: found.padded_dims) { Self.numbers($0, rank) }
    strides = open ? [] : withUnsafeBytes(of: found.strides) { Self.numbers($0, rank) }
    let sizes = withUnsafeBytes(of: found.inner_sizes) { Self.numbers($0, blocks) }
    let axes = withUnsafeBytes(of: found.inner_axes) { Self.numbers($0, blocks) }
    innerBlocks = zip(axes, sizes).map { (axis: $0, size: $1) }
    let geometry = Geometry(
      dims: dims, padded: paddedDims, strides: strides, blocks: innerBlocks,
      isDense: !open && found.offset == 0)
    layout = Self.preference.first { geometry.matches($0) } ?? .other
    matching = Set(Self.preference.filter { geometry.matches($0) })
  }

  deinit { abn_dnnl_descriptor_destroy(handle) }

  /// Whether a buffer of this descriptor read as `layout`, sizes unchanged, holds the same tensor.
  package func matches(_ layout: DNNLLayout) -> Bool { matching.contains(layout) }

  private let matching: Set<DNNLLayout>
  private static let preference: [DNNLLayout] = [.plain, .channelsLast, .blocked8, .blocked16]

  /// oneDNN's code of an element type; nil where it has none.
  private static func code(_ dtype: DType) -> Int32? {
    switch dtype {
    case .float16: ABN_DNNL_F16
    case .bfloat16: ABN_DNNL_BF16
    case .float32: ABN_DNNL_F32
    case .float64: ABN_DNNL_F64
    case .int8: ABN_DNNL_S8
    case .uint8: ABN_DNNL_U8
    case .int32: ABN_DNNL_S32
    case .int64, .bool: nil
    }
  }

  private static func dtype(_ code: Int32) -> DType? {
    DType.allCases.first { Self.code($0) == code }
  }

  private static func numbers(_ bytes: UnsafeRawBufferPointer, _ count: Int) -> [Int] {
    bytes.bindMemory(to: Int64.self).prefix(count).map(Int.init)
  }
}

extension DNNLDescriptor: Equatable, CustomStringConvertible {
  /// Whether a buffer of one can be read as the other, without a reorder.
  package static func == (left: DNNLDescriptor, right: DNNLDescriptor) -> Bool {
    left === right || abn_dnnl_descriptor_equal(left.handle, right.handle) != 0
  }

  /// Type, sizes and layout: `float32 [8, 64, 14, 14] blocked16`, or oneDNN's letters for others.
  package var description: String {
    let type = dtype?.rawValue ?? "unknown type"
    let place = isAny ? "any" : layout == .other ? letters : "\(layout)"
    return "\(type) \(dims) \(place)"
  }

  /// oneDNN's notation: axes from outer to inner, capitals for blocked ones, then the blocks.
  private var letters: String {
    guard strides.count == dims.count else { return "opaque" }
    let order = strides.indices.sorted { (strides[$0], $1) > (strides[$1], $0) }
    let outer = order.map { axis in
      let letter = String(UnicodeScalar(UInt8(97 + axis)))
      return innerBlocks.contains { $0.axis == axis } ? letter.uppercased() : letter
    }
    let inner = innerBlocks.map { "\($0.size)" + String(UnicodeScalar(UInt8(97 + $0.axis))) }
    return (outer + inner).joined()
  }
}

/// What strides and blocks must be for a named layout.
private struct Geometry {
  let dims: [Int]
  let padded: [Int]
  let strides: [Int]
  let blocks: [(axis: Int, size: Int)]
  let isDense: Bool

  func matches(_ layout: DNNLLayout) -> Bool {
    guard isDense, !dims.isEmpty else { return false }
    let axes = Array(dims.indices)
    switch layout {
    case .plain: return blocks.isEmpty && hasStrides(axes, sizes: dims, unit: 1)
    case .channelsLast:
      guard (2...5).contains(dims.count) else { return false }
      return blocks.isEmpty && hasStrides([0] + axes.dropFirst(2) + [1], sizes: dims, unit: 1)
    case .blocked8: return isBlocked(8)
    case .blocked16: return isBlocked(16)
    case .other: return false
    }
  }

  private func isBlocked(_ size: Int) -> Bool {
    guard (3...5).contains(dims.count), blocks.count == 1, blocks[0] == (axis: 1, size: size)
    else { return false }
    var outer = dims
    outer[1] = (dims[1] + size - 1) / size
    var wanted = dims
    wanted[1] = outer[1] * size
    return padded == wanted
      && hasStrides(Array(dims.indices), sizes: outer, unit: size, padded: wanted)
  }

  /// Whether the strides are those of `sizes` laid out in `order`, the last axis fastest.
  private func hasStrides(
    _ order: [Int], sizes: [Int], unit: Int, padded wanted: [Int]? = nil
  ) -> Bool {
    guard padded == wanted ?? dims else { return false }
    var step = unit
    for axis in order.reversed() {
      if sizes[axis] > 1 && strides[axis] != step { return false }
      step *= sizes[axis]
    }
    return true
  }
}
