import ABNTensors

/// The sizes of a convolution in oneDNN's order, whatever the variables' layout.
package struct ConvolutionShape: Sendable, Hashable {
  package let batch, channels, height, width: Int
  package let filters, kernelHeight, kernelWidth: Int
  package let outHeight, outWidth: Int
  package let groups: Int
  package let layout: DataLayout
  package let window: DNNLConvolution

  package init(
    batch: Int, channels: Int, image: (height: Int, width: Int), filters: Int,
    kernel: (height: Int, width: Int), output: (height: Int, width: Int), groups: Int,
    layout: DataLayout, window: DNNLConvolution
  ) {
    self.batch = batch
    self.channels = channels
    (height, width) = image
    self.filters = filters
    (kernelHeight, kernelWidth) = kernel
    (outHeight, outWidth) = output
    self.groups = groups
    self.layout = layout
    self.window = window
  }

  package var source: [Int] { [batch, channels, height, width] }
  package var destination: [Int] { [batch, filters, outHeight, outWidth] }
  package var weights: [Int] {
    groups == 1
      ? [filters, channels, kernelHeight, kernelWidth]
      : [groups, filters / groups, channels / groups, kernelHeight, kernelWidth]
  }

  /// Floating-point operators of each of the three products.
  package var flops: Int {
    saturatingProduct(
      2, batch, filters, outHeight, outWidth, channels / groups, kernelHeight, kernelWidth)
  }

  /// The formats in which an image variable may stand, the freest first: NCHW variables leave it to
  /// oneDNN where they may stand in blocks.
  private func freeFormats(usesBlocks: Bool) -> [DNNLFormat] {
    layout == .nhwc ? [.channelsLast] : usesBlocks ? [.any, .plain] : [.plain]
  }

  /// Makes a primitive with the freest formats whose images can be walked by everything else.
  ///
  /// - Parameters:
  ///   - usesBlocks: whether images may stand in blocks of channels.
  ///   - make: gets descriptors of x (or its gradient), weights, y (or its gradient).
  /// - Returns: the primitive, and the layouts of x and y.
  package func primitive(
    _ dtype: DType, usesBlocks: Bool,
    _ make: (DNNLDescriptor, DNNLDescriptor, DNNLDescriptor) throws -> DNNLPrimitive,
    x xRole: DNNLPrimitive.Argument, y yRole: DNNLPrimitive.Argument
  ) throws -> (primitive: DNNLPrimitive, x: PhysicalLayout, y: PhysicalLayout) {
    let formats = freeFormats(usesBlocks: usesBlocks)
    for (xFormat, yFormat) in formats.flatMap({ x in formats.map { (x, $0) } }) {
      let made = try make(
        DNNLDescriptor(source, dtype, xFormat), DNNLDescriptor(weights, dtype, .any),
        DNNLDescriptor(destination, dtype, yFormat))
      if layout == .nhwc { return (made, .plain, .plain) }
      guard let x = made.descriptor(xRole).flatMap({ PhysicalLayout($0) }),
        let y = made.descriptor(yRole).flatMap({ PhysicalLayout($0) })
      else { continue }
      return (made, x, y)
    }
    preconditionFailure("a convolution in explicit formats has those formats")
  }
}
