import ABNGraph
import ABNRuntime
import ABNTensors

/// Copies elements, whatever they mean, between two strided arrangements of one shape.
struct StridedCopy {
  private var nest: Nest
  private var fromStart: Int
  private var toStart: Int
  /// Bytes of a word: an element, or as many neighbours as both sides have together everywhere.
  private var word: Int

  /// A copy of `shape` elements; strides and starts count elements.
  init(
    _ shape: Shape, from: [Int], fromStart: Int = 0, to: [Int], toStart: Int = 0,
    elementBytes: Int
  ) throws {
    // In the order of the target.
    let axes = (0..<shape.rank).sorted { to[$0] > to[$1] }
    nest = try Nest(axes.map { shape[$0] }, axes.map { from[$0] }, axes.map { to[$0] })
    (self.fromStart, self.toStart, word) = (fromStart, toStart, elementBytes)
    while word < 16, self.fromStart % 2 == 0, self.toStart % 2 == 0,
      nest.divides(by: 2, first: true, second: true)
    {
      nest.divide(by: 2, first: true, second: true)
      self.fromStart /= 2
      self.toStart /= 2
      word *= 2
    }
  }

  /// The copy from one argument of a step to another.
  func launch(_ c: CUDAContext, from: Int, to: Int) throws -> KernelLaunch {
    let source = KernelArgument.offset(from, bytes: fromStart * word)
    let target = KernelArgument.offset(to, bytes: toStart * word)
    let last = nest.sizes.count - 1
    if nest.first[last] != 1, nest.second[last] == 1,
      let row = nest.sizes.indices.dropLast().last(where: { nest.first[$0] == 1 })
    {
      return try turned(c, source, target, row: row)
    }
    let kernel = try c.kernel(
      [.walk, .copy], "copy", ["-DW=\(Self.wordName(word))"] + c.width(nest.count))
    var walk = KernelStruct()
    walk.append(nest)
    return try KernelLaunch(
      kernel, blocks: KernelLaunch.blocks(nest.count), threads: 256,
      [source, target, .i64(Int64(nest.count)), walk.argument])
  }

  private func turned(
    _ c: CUDAContext, _ source: KernelArgument, _ target: KernelArgument, row: Int
  ) throws -> KernelLaunch {
    let last = nest.sizes.count - 1
    let others = nest.sizes.indices.filter { $0 != row && $0 != last }
    let outer = try Nest(
      others.map { nest.sizes[$0] }, others.map { nest.first[$0] }, others.map { nest.second[$0] })
    let (rows, columns) = (nest.sizes[row], nest.sizes[last])
    let kernel = try c.kernel(
      [.walk, .copy], "copyTurned", ["-DW=\(Self.wordName(word))"] + c.width(outer.count))
    var walk = KernelStruct()
    walk.append(outer)
    let tiles = outer.count * ((rows + 31) / 32) * ((columns + 31) / 32)
    return try KernelLaunch(
      kernel, blocks: min(max(tiles, 1), 1 << 22), threads: 256,
      [
        source, target, .i64(Int64(outer.count)), .i64(Int64(rows)),
        .i64(Int64(nest.second[row])), .i64(Int64(columns)), .i64(Int64(nest.first[last])),
        walk.argument,
      ])
  }

  /// What kernels call a word of so many bytes.
  fileprivate static func wordName(_ bytes: Int) -> String {
    [1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "Chunk"][bytes]!
  }
}

extension StridedCopy {
  /// A tensor `part` against the place in `whole` where it starts at `offset` of `axis`, both in
  /// one order.
  static func part(
    _ part: TensorType, of whole: TensorType, in order: ImageOrder, axis: Int, offset: Int,
    isRead: Bool
  ) throws -> StridedCopy {
    let (own, strides) = (order.strides(part.shape), order.strides(whole.shape))
    let start = offset * strides[axis]
    return isRead
      ? try StridedCopy(
        part.shape, from: strides, fromStart: start, to: own, elementBytes: part.dtype.bytes)
      : try StridedCopy(
        part.shape, from: own, to: strides, toStart: start, elementBytes: part.dtype.bytes)
  }

  /// Copies `bytes` from one argument to another.
  static func bytes(_ bytes: Int, _ c: CUDAContext, from: Int, to: Int) throws -> KernelLaunch {
    try StridedCopy([bytes], from: [1], to: [1], elementBytes: 1).launch(c, from: from, to: to)
  }

  /// `value` at each element of an argument.
  static func fill(
    _ argument: Int, _ type: TensorType, value: Double, _ c: CUDAContext
  ) throws -> KernelLaunch {
    var pattern = bytes(of: value, type.dtype)
    if type.bytes % 16 == 0 {
      pattern = Array(repeatElement(pattern, count: 16 / pattern.count).joined())
    }
    let kernel = try c.kernel([.walk, .copy], "fill", ["-DW=\(wordName(pattern.count))"])
    let count = type.bytes / pattern.count
    return try KernelLaunch(
      kernel, blocks: KernelLaunch.blocks(count), threads: 256,
      [.pointer(argument), .i64(Int64(count)), .bytes(pattern)])
  }

  /// A number as an element of a type.
  private static func bytes(of value: Double, _ dtype: DType) -> [UInt8] {
    func element<T: TensorScalar>(_: T.Type) -> [UInt8] {
      withUnsafeBytes(of: T(tensorValue: value)) { Array($0) }
    }
    return switch dtype {
    case .float16: element(Float16.self)
    case .bfloat16: element(BFloat16.self)
    case .float32: element(Float.self)
    case .float64: element(Double.self)
    case .int8: element(Int8.self)
    case .uint8: element(UInt8.self)
    case .int32: element(Int32.self)
    case .int64: element(Int64.self)
    case .bool: element(Bool.self)
    }
  }
}
