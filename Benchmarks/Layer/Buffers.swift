import ABNKernels
import InPlaceABN

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What one layer works on, allocated once. Used by one benchmark at a time.
final class Buffers: @unchecked Sendable {
  private let kernel: ABNKernel
  private let x: UnsafeMutableRawPointer
  private let gradient: UnsafeMutableRawPointer
  private let scratch: UnsafeMutableRawPointer
  /// Rows of `channels` numbers each: scale, bias, slopes, the three saved statistics, dscale.
  private let arrays: UnsafeMutableRawPointer
  private let rowBytes: Int

  init(_ kernel: ABNKernel) {
    func bytes(_ count: Int) -> UnsafeMutableRawPointer {
      // Whole large pages where the system grants them, as the engine's arena and `abn bench layer` have.
      let page = 2 << 20
      let whole = (max(64, count) + page - 1) / page * page
      let base = UnsafeMutableRawPointer.allocate(byteCount: whole, alignment: page)
      madvise(base, whole, MADV_HUGEPAGE)
      return base
    }
    self.kernel = kernel
    rowBytes = (kernel.geometry.channels * kernel.element.statisticsBytes + 63) / 64 * 64
    x = bytes(kernel.bufferBytes)
    gradient = bytes(kernel.bufferBytes)
    scratch = bytes(kernel.scratchBytes)
    arrays = bytes(7 * rowBytes)
    for channel in 0..<kernel.geometry.channels {
      for (row, value) in [1.0, 0, 0.25].enumerated() { set(row, channel, value) }
    }
  }

  deinit {
    for base in [x, gradient, scratch, arrays] { base.deallocate() }
  }

  private func row(_ index: Int) -> UnsafeMutableRawPointer { arrays + index * rowBytes }

  private func set(_ index: Int, _ channel: Int, _ value: Double) {
    if kernel.element.statistics == .float64 {
      row(index).storeBytes(of: value, toByteOffset: channel * 8, as: Double.self)
    } else {
      row(index).storeBytes(of: Float(value), toByteOffset: channel * 4, as: Float.self)
    }
  }

  private var parameters: ABNParameters {
    let isLearned = kernel.activation == .prelu
    return ABNParameters(
      scale: row(0), bias: row(1), slopes: isLearned ? UnsafeRawPointer(row(2)) : nil,
      slopeCount: isLearned ? kernel.geometry.channels : 0)
  }

  private var state: ABNLayerState {
    ABNLayerState(
      parameters: parameters,
      saved: ABNSavedStatistics(
        mean: row(3), meanRemainder: row(4), inverseDeviation: row(5)))
  }

  private var workspace: ABNWorkspace { ABNWorkspace(scratch: scratch, team: Parallel.team) }

  /// x over itself becomes z.
  func forward() throws {
    try kernel.trainForward(
      source: x, destination: x, state: state, moving: nil, workspace: workspace)
  }

  /// dz over itself becomes dx.
  func backward() throws {
    try kernel.backward(
      ABNBackward(
        mode: .batch, kept: .output(x), gradient: gradient, destination: gradient,
        gradients: ABNGradients(scale: row(6), bias: nil)), state: state, workspace: workspace)
  }

  /// New data in both tensors: the layer overwrites them.
  func fill() {
    fill(x, seed: 1)
    fill(gradient, seed: 2)
  }

  /// Uniform numbers in -1 ..< 1; 4096 of them, repeated, as making more takes longer than the layer.
  private func fill(_ base: UnsafeMutableRawPointer, seed: UInt64) {
    let period = min(4096, kernel.geometry.elementCount)
    var state = seed
    for index in 0..<period {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = Double(Int64(bitPattern: state)) * 0x1p-63
      switch kernel.element {
      case .float16: base.storeBytes(of: Float16(value), toByteOffset: index * 2, as: Float16.self)
      case .bfloat16:
        base.storeBytes(
          of: UInt16(Float(value).bitPattern >> 16), toByteOffset: index * 2, as: UInt16.self)
      case .float32: base.storeBytes(of: Float(value), toByteOffset: index * 4, as: Float.self)
      case .float64: base.storeBytes(of: value, toByteOffset: index * 8, as: Double.self)
      }
    }
    var done = period * kernel.element.bytes
    while done < kernel.bufferBytes {
      let now = min(done, kernel.bufferBytes - done)
      (base + done).copyMemory(from: base, byteCount: now)
      done += now
    }
  }
}
