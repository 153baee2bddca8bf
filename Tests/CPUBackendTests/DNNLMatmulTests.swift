import ABNDNNL
@testable import ABNCPUBackend
import ABNTensors
import Dispatch
import Synchronization
import Testing

@Suite struct DNNLMatmulTests {
  /// [B, M, K] x [B, K, N] + [1, 1, N].
  static func product(_ a: Reference, _ b: Reference, _ bias: Reference?) -> Reference {
    var result = Reference(zeros: [a.dims[0], a.dims[1], b.dims[2]])
    for i in Reference.indices(result.dims) {
      var sum = bias.map { $0[[0, 0, i[2]]] } ?? 0
      for k in 0..<a.dims[2] { sum += a[[i[0], i[1], k]] * b[[i[0] % b.dims[0], k, i[2]]] }
      result[i] = sum
    }
    return result
  }

  @Test(arguments: [(5, 7, 3), (17, 33, 19), (1, 10, 64), (64, 1, 5)])
  func matrices(_ m: Int, _ k: Int, _ n: Int) throws {
    var generator = SplitMix(seed: 7)
    let a = Reference(random: [1, m, k], using: &generator)
    let b = Reference(random: [1, k, n], using: &generator)
    let bias = Reference(random: [1, 1, n], using: &generator)
    for (transposeA, transposeB) in [(false, false), (true, false), (false, true), (true, true)] {
      for hasBias in [true, false] {
        let left = try DNNLDescriptor(
          [m, k], .float32, .strides(transposeA ? [1, m] : [k, 1]))
        let right = try DNNLDescriptor(
          [k, n], .float32, .strides(transposeB ? [1, k] : [n, 1]))
        let row = try DNNLDescriptor([1, n], .float32, .plain)
        let to = try DNNLDescriptor([m, n], .float32, .plain)
        let primitive = try DNNLPrimitive.matmul(
          source: left, weights: right, bias: hasBias ? row : nil, destination: to)
        let result = Buffer(bytes: to.byteCount)
        try run(
          primitive,
          [
            .source: store(a.reshaped([m, k]), as: left),
            .weights: store(b.reshaped([k, n]), as: right),
            .bias: store(bias.reshaped([1, n]), as: row), .destination: result,
          ])
        let wanted = Self.product(a, b, hasBias ? bias : nil).reshaped([m, n])
        #expect(wanted.distance(to: try load(result, as: to)) < 1e-5)
      }
    }
  }

  @Test(arguments: [3, 1]) func stacks(_ rightBatch: Int) throws {
    var generator = SplitMix(seed: 8)
    let a = Reference(random: [3, 5, 9], using: &generator)
    let b = Reference(random: [rightBatch, 9, 4], using: &generator)
    let left = try DNNLDescriptor(a.dims, .float32, .plain)
    let right = try DNNLDescriptor(b.dims, .float32, .strides([36, 1, 9]))
    let to = try DNNLDescriptor([3, 5, 4], .float32, .plain)
    let primitive = try DNNLPrimitive.matmul(source: left, weights: right, destination: to)
    let result = Buffer(bytes: to.byteCount)
    try run(
      primitive,
      [.source: store(a, as: left), .weights: store(b, as: right), .destination: result])
    #expect(Self.product(a, b, nil).distance(to: try load(result, as: to)) < 1e-5)
  }

  @Test func bfloat16WithFloat32Result() throws {
    var generator = SplitMix(seed: 9)
    let a = Reference(random: [1, 9, 21], bits: 8, using: &generator)
    let b = Reference(random: [1, 21, 11], bits: 8, using: &generator)
    let left = try DNNLDescriptor([9, 21], .bfloat16, .plain)
    let right = try DNNLDescriptor([21, 11], .bfloat16, .plain)
    let to = try DNNLDescriptor([9, 11], .float32, .plain)
    let primitive = try DNNLPrimitive.matmul(source: left, weights: right, destination: to)
    let result = Buffer(bytes: to.byteCount)
    try run(
      primitive,
      [
        .source: store(a.reshaped([9, 21]), as: left),
        .weights: store(b.reshaped([21, 11]), as: right), .destination: result,
      ])
    let wanted = Self.product(a, b, nil).reshaped([9, 11])
    #expect(wanted.distance(to: try load(result, as: to)) < 1e-5)
  }

  @Test func shapesThatDoNotFitAreNamed() throws {
    let left = try DNNLDescriptor([3, 4], .float32, .plain)
    let right = try DNNLDescriptor([5, 6], .float32, .plain)
    let to = try DNNLDescriptor([3, 6], .float32, .plain)
    #expect {
      try DNNLPrimitive.matmul(source: left, weights: right, destination: to)
    } throws: { error in
      guard let error = error as? ABNError else { return false }
      return error.category == .system && error.what.contains("matmul")
        && error.got.contains("[5, 6]")
    }
  }

  /// Threads that share one primitive take turns: each gets the product of its own operands.
  @Test func sharedByThreads() throws {
    let n = 5
    let square = try DNNLDescriptor([n, n], .float32, .plain)
    let primitive = try DNNLPrimitive.matmul(source: square, weights: square, destination: square)
    var generator = SplitMix(seed: 10)
    let operands = (0..<2).map { _ in Reference(random: [1, n, n], using: &generator) }
    let inputs = try operands.map { try store($0.reshaped([n, n]), as: square) }
    let outputs = operands.map { _ in Buffer(bytes: square.byteCount) }
    let scratch = operands.map { _ in Buffer(bytes: primitive.scratchpadBytes) }
    struct Table: @unchecked Sendable {
      let rows: [[UnsafeMutableRawPointer?]]
      let wanted: [[Float]]
    }
    let table = Table(
      rows: operands.indices.map {
        [inputs[$0].pointer, inputs[$0].pointer, nil, outputs[$0].pointer, scratch[$0].pointer]
      },
      wanted: operands.map { Self.product($0, $0, nil).values.map { Float($0) } })
    let wrong = Mutex(0)
    DispatchQueue.concurrentPerform(iterations: operands.count) { i in
      // One element is enough to see a product that went elsewhere, and keeps the threads close.
      let output = table.rows[i][3]!.assumingMemoryBound(to: Float.self)
      var missed = 0
      table.rows[i].withUnsafeBufferPointer { row in
        for _ in 0..<60000 {
          output[0] = .nan
          try! primitive.execute(row.baseAddress!)
          if !(abs(output[0] - table.wanted[i][0]) < 1e-4) { missed += 1 }
        }
      }
      wrong.withLock { $0 += missed }
    }
    #expect(wrong.withLock { $0 } == 0)
  }
}

@Suite struct DNNLReorderTests {
  /// Every pair of layouts, against the strides that the target's name stands for.
  @Test func everyPairOfLayouts() throws {
    var generator = SplitMix(seed: 11)
    let dims = [2, 19, 3, 5]
    let tensor = Reference(random: dims, using: &generator)
    let formats: [DNNLFormat] = [.plain, .channelsLast, .blocked(8), .blocked(16)]
    for from in formats {
      for to in formats {
        let source = try DNNLDescriptor(dims, .float32, from)
        let target = try DNNLDescriptor(dims, .float32, to)
        let reorder = try DNNLPrimitive.reorder(from: source, to: target)
        let result = Buffer(bytes: target.byteCount)
        try run(reorder, [.source: store(tensor, as: source), .destination: result])
        let block = target.innerBlocks.first?.size ?? 1
        var wanted = [Float](repeating: 0, count: target.byteCount / 4)
        for i in Reference.indices(dims) {
          let outer = [i[0], i[1] / block, i[2], i[3]]
          let place = zip(outer, target.strides).reduce(0) { $0 + $1.0 * $1.1 }
          wanted[place + (block > 1 ? i[1] % block : 0)] = Float(tensor[i])
        }
        let got = wanted.indices.map {
          result.pointer.load(fromByteOffset: 4 * $0, as: Float.self)
        }
        #expect(got == wanted)
      }
    }
  }

  @Test func toBFloat16RoundsToNearest() throws {
    var generator = SplitMix(seed: 12)
    let tensor = Reference(random: [3, 7], using: &generator)
    let source = try DNNLDescriptor([3, 7], .float32, .plain)
    let target = try DNNLDescriptor([3, 7], .bfloat16, .plain)
    let result = Buffer(bytes: target.byteCount)
    try run(
      DNNLPrimitive.reorder(from: source, to: target),
      [.source: store(tensor, as: source), .destination: result])
    for (i, value) in tensor.values.enumerated() {
      let bits = result.pointer.load(fromByteOffset: 2 * i, as: UInt16.self)
      #expect(bits == BFloat16(Float(value)).bitPattern)
    }
  }

  @Test func anOpenLayoutIsAnError() throws {
    let source = try DNNLDescriptor([2, 3], .float32, .plain)
    let open = try DNNLDescriptor([2, 3], .float32, .any)
    #expect(throws: ABNError.self) { try DNNLPrimitive.reorder(from: source, to: open) }
  }
}
