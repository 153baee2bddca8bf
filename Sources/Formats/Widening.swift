import ABNTensors

extension Tensor {
  /// The tensor in another element type that holds every value of this one exactly: itself, float16
  /// or bfloat16 in float32 or float64, float32 in float64. Nil for any other pair of types.
  package func widened(to target: DType) -> Tensor? {
    if dtype == target { return self }
    switch (dtype, target) {
    case (.float16, .float32): return mapped { (half: Float16) in Float(half) }
    case (.bfloat16, .float32): return mapped { (half: BFloat16) in half.float }
    case (.float16, .float64): return mapped { (half: Float16) in Double(half) }
    case (.bfloat16, .float64): return mapped { (half: BFloat16) in Double(half.float) }
    case (.float32, .float64): return mapped { (number: Float) in Double(number) }
    default: return nil
    }
  }

  private func mapped<From: TensorScalar, To: TensorScalar>(_ body: (From) -> To) -> Tensor {
    var result = Tensor(uninitialized: shape, dtype: To.dtype)
    withUnsafeBytes { source in
      result.withUnsafeMutableBytes { target in
        let (source, target) = (source.bindMemory(to: From.self), target.bindMemory(to: To.self))
        // None where there was no memory: the result says so.
        for i in target.indices { target[i] = body(source[i]) }
      }
    }
    return result
  }
}
