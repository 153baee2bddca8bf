@testable import ABNKernels

extension Activation {
  /// The kernels' word for the slope.
  static func leakyReLU(alpha: Double) -> Activation { .leakyReLU(slope: alpha) }
}
