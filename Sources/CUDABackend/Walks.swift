import ABNTensors

/// The bytes of a struct of a kernel, field by field; each field is aligned to its size.
struct KernelStruct {
  private(set) var bytes: [UInt8] = []

  mutating func append<T: BitwiseCopyable>(_ value: T) {
    while bytes.count % MemoryLayout<T>.size != 0 { bytes.append(0) }
    withUnsafeBytes(of: value) { bytes += Array($0) }
  }
  mutating func append(_ values: Int...) { for value in values { append(Int64(value)) } }
  mutating func append(_ divisor: Divisor) {
    append(UInt64(divisor.number))
    append(divisor.multiplier)
    append(divisor.shift)
  }
  mutating func append(_ nest: Nest) {
    append(nest.sizes.count)
    let fill = Nest.mostDimensions - nest.sizes.count
    let ones = Array(repeating: 1, count: fill)
    for size in nest.sizes.reversed() + ones { append(Divisor(size)) }
    for strides in [nest.first, nest.second] {
      for stride in strides.reversed() + ones { append(stride) }
    }
  }

  var argument: KernelArgument { .bytes(bytes) }
}

/// `Divisor` of walk.cuh: a number that a kernel divides many others by.
struct Divisor: Sendable {
  let number: Int
  let multiplier: UInt32
  let shift: UInt32

  init(_ number: Int) {
    self.number = max(1, number)
    guard number > 1, number < 1 << 31 else {
      // 1; wide kernels divide by the number itself.
      (multiplier, shift) = (1, 0)
      return
    }
    shift = UInt32(Int.bitWidth - (number - 1).leadingZeroBitCount)
    multiplier = UInt32(((1 << shift) - number) << 32 / number + 1)
  }
}

/// `Nest` of walk.cuh: a loop nest over a shape for two operands, outermost first; neighbouring
/// dimensions that both walk alike are merged.
struct Nest: Sendable {
  /// What the struct in walk.cuh has room for.
  static let mostDimensions = 12

  private(set) var sizes: [Int] = []
  private(set) var first: [Int] = []
  private(set) var second: [Int] = []

  /// - Throws: `ABNError(.unsupported)` for more dimensions than kernels walk.
  init(_ shape: [Int], _ first: [Int], _ second: [Int]) throws {
    for axis in shape.indices where shape[axis] != 1 {
      if let last = sizes.indices.last, self.first[last] == first[axis] * shape[axis],
        self.second[last] == second[axis] * shape[axis]
      {
        sizes[last] *= shape[axis]
        (self.first[last], self.second[last]) = (first[axis], second[axis])
      } else {
        sizes.append(shape[axis])
        self.first.append(first[axis])
        self.second.append(second[axis])
      }
    }
    if sizes.isEmpty { (sizes, self.first, self.second) = ([1], [0], [0]) }
    guard sizes.count <= Self.mostDimensions else {
      throw ABNError(
        .unsupported, "shape", got: "\(Shape(shape)), \(sizes.count) dimensions to walk apart",
        wanted: "at most \(Self.mostDimensions)",
        fix: "Reshape it so that dimensions that stay together are one.")
    }
  }

  /// One operand.
  init(_ shape: [Int], _ strides: [Int]) throws {
    try self.init(shape, strides, shape.map { _ in 0 })
  }

  /// The number of steps.
  var count: Int { sizes.reduce(1, *) }

  /// Whether the operands can be walked in words of so many elements: the innermost dimension of
  /// `isContiguous` ones in whole words, all others from word to word.
  func divides(by lanes: Int, first isFirst: Bool, second isSecond: Bool) -> Bool {
    func fits(_ strides: [Int], _ isContiguous: Bool) -> Bool {
      let others = isContiguous ? strides.dropLast() : strides[...]
      return (!isContiguous || strides.last == 1) && others.allSatisfy { $0 % lanes == 0 }
    }
    return (!(isFirst || isSecond) || sizes.last! % lanes == 0) && fits(first, isFirst)
      && fits(second, isSecond)
  }

  /// The same in words: what `divides` is true for.
  mutating func divide(by lanes: Int, first isFirst: Bool, second isSecond: Bool) {
    func words(_ strides: [Int], _ isContiguous: Bool) -> [Int] {
      strides.indices.map {
        isContiguous && $0 == strides.count - 1 ? 1 : strides[$0] / lanes
      }
    }
    if isFirst || isSecond { sizes[sizes.count - 1] /= lanes }
    (first, second) = (words(first, isFirst), words(second, isSecond))
  }
}

extension CUDAContext {
  /// What kernels call a floating-point type.
  func elementName(_ dtype: DType) throws -> String {
    switch dtype {
    case .float16: "f16"
    case .bfloat16: "bf16"
    case .float32: "f32"
    case .float64: "f64"
    default: throw unsupported(dtype, wanted: "a floating-point type")
    }
  }

  /// `-DWIDE` where a kernel of walk.cuh counts to 2^31 or further.
  func width(_ counts: Int...) -> [String] {
    counts.allSatisfy { $0 < 1 << 31 } ? [] : ["-DWIDE"]
  }
}

extension KernelLaunch {
  /// Blocks of 256 threads, for a thread for each of `count`; kernels go on to the next ones where
  /// there are more.
  static func blocks(_ count: Int) -> Int { min(max(1, (count + 255) / 256), 1 << 22) }
}

/// The least power of two that is not below a number.
func powerOfTwo(atLeast number: Int) -> Int {
  number <= 1 ? 1 : 1 << (Int.bitWidth - (number - 1).leadingZeroBitCount)
}
