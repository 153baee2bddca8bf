import ABNTestSupport
import InPlaceABN
import Testing

@Suite struct MemoryLimitTests {
  /// A product of [batch, 64] with a weight of [64, 64].
  private struct Network {
    let builder = ProgramBuilder()
    let y: Variable
    init(batch: Int = Shape.unknown) throws {
      y = try builder.build {
        try mean(square(fc(data("x", shape: [batch, 64]), size: 64)))
      }
    }
    func executor(_ limit: MemoryLimit) -> Executor {
      Executor(backend: CPUBackend(), memoryLimit: limit)
    }
  }

  /// The batch that the error names fits, and is near the largest that does.
  @Test(arguments: [1 << 20, 3_000_000, 1 << 26]) func theErrorNamesABatchThatFits(_ limit: Int)
    throws
  {
    let network = try Network()
    let error = try #require(
      #expect(throws: ABNError.self) {
        try network.executor(.bytes(limit)).compile(
          network.builder.main, feed: ["x": [1 << 24, 64]], fetch: [network.y])
      })
    #expect(error.category == .system)
    let words = error.fix.split(whereSeparator: { !$0.isNumber })
    let batch = try #require(words.first.flatMap { Int($0) }, "\(error)")
    func peak(_ batch: Int) throws -> Int {
      try network.executor(.none).compile(
        network.builder.main, feed: ["x": [batch, 64]], fetch: [network.y]
      ).plannedPeakBytes
    }
    #expect(try peak(batch) <= limit)
    #expect(try peak(batch + batch / 8 + 1) > limit, "\(error)")
    // What it names can be run.
    let scope = Scope()
    let executor = network.executor(.bytes(limit))
    try executor.run(network.builder.startup, scope: scope)
    let x = Tensor(zeros: [batch, 64], dtype: .float32)
    #expect(
      try executor.run(network.builder.main, feed: ["x": x], fetch: [network.y], scope: scope)[0]
        .doubles == [0])
  }

  /// What windows and weights are looked up in may be larger than the images: counted before it is made.
  @Test func tables() throws {
    typealias Layer = @Sendable (Variable) throws -> Variable
    let count = 1 << 21
    // An image of one column, its result of 2^21 rows, 8 MiB: the tables have 16 to 40 bytes a row.
    let layers: [(rows: Int, least: Int, build: Layer)] = [
      (4, 40, { try resizeBilinear($0, outShape: [count, 1]) }),
      (4, 40, { try resizeNearest($0, outShape: [count, 1]) }),
      (4, 16, { try adaptivePool2d($0, poolSize: [count, 1], poolType: .average) }),
      (2 * count, 16, { try pool2d($0, poolSize: [2, 1], poolStride: [2, 1]) }),
    ]
    for (rows, least, build) in layers {
      let builder = ProgramBuilder()
      let y = try builder.build { try build(data("x", shape: [1, 1, rows, 1])) }
      func compile(_ limit: MemoryLimit) throws -> Int {
        try Executor(backend: CPUBackend(), memoryLimit: limit).compile(
          builder.main, feed: ["x": [1, 1, rows, 1]], fetch: [y]
        ).plannedPeakBytes
      }
      let planned = try compile(.none)
      let error = #expect(throws: ABNError.self, "\(builder.main)") {
        try compile(.bytes(planned + least * count - 1))
      }
      #expect(error?.category == .system)
      #expect(try compile(.bytes(planned + (least + 1) * count)) == planned)
    }
    // A size that no machine has tables for: refused at once, whatever the limit on the program is.
    let builder = ProgramBuilder()
    let y = try builder.build {
      try resizeBilinear(data("x", shape: [1, 1, 2, 2]), outShape: [Int(Int32.max), 1])
    }
    for limit in [MemoryLimit.none, .machine, .bytes(1 << 34)] {
      #expect(throws: ABNError.self) {
        try Executor(backend: CPUBackend(), memoryLimit: limit).compile(
          builder.main, feed: ["x": [1, 1, 2, 2]], fetch: [y])
      }
    }
  }

  /// Where nothing but the sizes can be chosen, and where the parameters alone are too large.
  @Test func withoutABatch() throws {
    let fixed = try Network(batch: 1 << 20)
    let error = #expect(throws: ABNError.self) {
      try fixed.executor(.bytes(1 << 20)).compile(
        fixed.builder.main, feed: ["x": [1 << 20, 64]], fetch: [fixed.y])
    }
    #expect(error?.fix == "Choose smaller sizes.")
    let network = try Network()
    for program in [network.builder.main, network.builder.startup] {
      let isMain = program.revision == network.builder.main.revision
      let error = #expect(throws: ABNError.self) {
        try network.executor(.bytes(1000)).compile(
          program, feed: isMain ? ["x": [8, 64]] : [:], fetch: isMain ? [network.y] : [])
      }
      #expect(error?.category == .system)
      #expect(error?.got.contains("bytes") == true)
    }
  }

  /// More than this machine has, by default, and before tables as large as the tensors are made.
  @Test func thisMachine() throws {
    let network = try Network()
    let error = #expect(throws: ABNError.self) {
      try Executor(backend: CPUBackend()).compile(
        network.builder.main, feed: ["x": [1 << 37, 64]], fetch: [network.y])
    }
    #expect(error?.category == .system)
    let builder = ProgramBuilder()
    let resized = try builder.build {
      try resizeBilinear(data("x", shape: [1, 1, 2, 2]), outShape: [1 << 30, 1 << 11])
    }
    #expect(throws: ABNError.self) {
      try Executor(backend: CPUBackend()).compile(
        builder.main, feed: ["x": [1, 1, 2, 2]], fetch: [resized])
    }
  }

  @Test func tensorsThatCannotBeHad() throws {
    let large = Tensor(zeros: [1 << 31, 1 << 31], dtype: .float32)
    let mismatched = Tensor([1, 2, 3] as [Float], shape: [2])
    for tensor in [
      large, mismatched, Tensor(zeros: [-1, 2], dtype: .int8),
      Tensor(uninitialized: [1 << 62, 1 << 62], dtype: .float64),
      Tensor(zeros: [2], dtype: .float32).reshaped([3]), mismatched.cast(to: .float64),
    ] {
      #expect(tensor.failure != nil && tensor.elementCount == 0 && tensor.bytes == 0)
      #expect(throws: ABNError.self) { try tensor.checked() }
      #expect(tensor.doubles == [] && "\(tensor)".contains("wanted"))
      #expect(throws: ABNError.self) { try NPY.write(tensor, to: "/nowhere/x.npy") }
    }
    let network = try Network()
    let executor = network.executor(.none)
    let scope = Scope()
    #expect(throws: ABNError.self) {
      try executor.run(
        network.builder.main, feed: ["x": Tensor(zeros: [1 << 40, 64], dtype: .float32)],
        fetch: [network.y], scope: scope)
    }
    try executor.run(network.builder.startup, scope: scope)
    let weight = try #require(network.builder.main.parameters.first)
    scope[weight.name] = Tensor([1] as [Float], shape: weight.shape)
    #expect(throws: ABNError.self) {
      try executor.run(
        network.builder.main, feed: ["x": Tensor(zeros: [1, 64], dtype: .float32)],
        fetch: [network.y], scope: scope)
    }
    let other = ProgramBuilder()
    #expect(throws: ABNError.self) {
      try other.build {
        try fc(
          data("x", shape: [1, 3]), size: 1,
          paramAttr: ParamAttr(initializer: .array(mismatched)))
      }
    }
  }

  /// Zeros of 64 MiB and more are pages of the system: as good as others.
  @Test func manyZeros() {
    var zeros = Tensor(zeros: [17 << 20], dtype: .float32)
    let copy = zeros
    zeros.withUnsafeMutableBytes { $0.storeBytes(of: Float(1), toByteOffset: 64, as: Float.self) }
    #expect(zeros.withUnsafeBytes { $0.load(fromByteOffset: 64, as: Float.self) } == 1)
    #expect(copy.withUnsafeBytes { $0.load(fromByteOffset: 64, as: Float.self) } == 0)
  }
}
