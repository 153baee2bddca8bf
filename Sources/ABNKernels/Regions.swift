/// The buffers of one call, for the check that what is written is nobody else's. A value on the stack:
/// the kernels allocate nothing.
struct Regions {
  private struct Region {
    var name: StaticString = ""
    var first: UInt = 0
    var bytes: UInt = 0
    var isWritten = false

    var end: UInt { first &+ bytes }
  }

  /// At most: two tensors and the kept one, scale, bias, slopes, mean and variance, three saved
  /// statistics, three gradients or two moving statistics, scratch.
  private var regions = InlineArray<14, Region>(repeating: Region())
  private var count = 0

  /// Adds a buffer; nothing where there is none.
  mutating func add(
    _ name: StaticString, _ base: UnsafeRawPointer?, _ bytes: Int, isWritten: Bool
  ) {
    guard let base, bytes > 0 else { return }
    regions[count] = Region(
      name: name, first: UInt(bitPattern: base), bytes: UInt(bytes), isWritten: isWritten)
    count += 1
  }

  /// Throws for a buffer that is written and overlaps another.
  func check() throws(KernelError) {
    for index in 0..<count {
      for other in 0..<index
      where (regions[index].isWritten || regions[other].isWritten)
        && regions[index].first < regions[other].end && regions[other].first < regions[index].end
      {
        throw KernelError(
          what: "\(regions[other].name) and \(regions[index].name)", got: "buffers that overlap",
          wanted: "memory of its own for what is written",
          fix: "Pass separate buffers, each as large as its documentation says.")
      }
    }
  }
}

extension ABNKernel {
  private var arrayBytes: Int { geometry.channels * element.statisticsBytes }

  /// What every function has: parameters, scratch.
  func regions(
    _ parameters: ABNParameters?, _ scratch: UnsafeRawPointer
  ) -> Regions {
    var regions = Regions()
    regions.add("scale", parameters?.scale, arrayBytes, isWritten: false)
    regions.add("bias", parameters?.bias, arrayBytes, isWritten: false)
    if activation == .prelu, let parameters {
      let bytes = parameters.slopeCount * element.statisticsBytes
      regions.add("slopes", parameters.slopes, bytes, isWritten: false)
    }
    regions.add("scratch", scratch, scratchBytes, isWritten: true)
    return regions
  }

  /// A tensor that is read and one that is written, which may be the same.
  func add(
    _ source: UnsafeRawPointer, _ sourceName: StaticString, _ destination: UnsafeRawPointer,
    to regions: inout Regions
  ) {
    if source != destination { regions.add(sourceName, source, bufferBytes, isWritten: false) }
    regions.add("destination", destination, bufferBytes, isWritten: true)
  }

  func add(_ saved: ABNSavedStatistics, to regions: inout Regions, isWritten: Bool) {
    regions.add("saved mean", saved.mean, arrayBytes, isWritten: isWritten)
    regions.add("saved mean remainder", saved.meanRemainder, arrayBytes, isWritten: isWritten)
    regions.add(
      "saved inverse deviation", saved.inverseDeviation, arrayBytes, isWritten: isWritten)
  }

  func add(_ gradients: ABNGradients, _ parameters: ABNParameters, to regions: inout Regions) {
    regions.add("scale gradient", gradients.scale, arrayBytes, isWritten: true)
    regions.add("bias gradient", gradients.bias, arrayBytes, isWritten: true)
    if activation == .prelu {
      let bytes = parameters.slopeCount * element.statisticsBytes
      regions.add("slopes gradient", gradients.slopes, bytes, isWritten: true)
    }
  }

  /// Mean and variance, in the names of what they are.
  func add(
    _ meanName: StaticString, _ mean: UnsafeRawPointer, _ varianceName: StaticString,
    _ variance: UnsafeRawPointer, to regions: inout Regions, isWritten: Bool
  ) {
    regions.add(meanName, mean, arrayBytes, isWritten: isWritten)
    regions.add(varianceName, variance, arrayBytes, isWritten: isWritten)
  }
}
