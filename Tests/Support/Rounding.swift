import ABNTensors

extension Tensor {
  /// Float64 numbers rounded to another type; anything else as it is.
  func rounded(to dtype: DType) -> Tensor {
    self.dtype == .float64 ? cast(to: dtype).cast(to: .float64) : self
  }
}
