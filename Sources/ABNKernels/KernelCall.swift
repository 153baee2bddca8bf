import CKernels

extension abn_kernel_call {
  /// A call on one run of no elements, whose 16 lanes of parameters are one channel; what differs is set after it.
  init(
    _ engine: Engine, _ step: Int, _ activation: Int, block: UnsafeMutableRawPointer,
    sums: UnsafeMutableRawPointer
  ) {
    self.init(
      step: step, element: engine.kernel.element.rawValue, activation: activation, a: block,
      b: block, out: block, parameters: block, state: sums, sums: sums, lanes: 1, is_rows: false,
      keeps: false, starts: false, is_far: false, later: 0, count: 1, stride: 0, length: 0)
  }

  /// Sets what is read and written.
  mutating func take(
    _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer
  ) {
    self.a = a
    self.b = b
    self.out = out
  }
}
