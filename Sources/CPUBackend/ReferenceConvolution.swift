import ABNDNNL
import ABNRuntime

/// Convolution as written, in float64, which oneDNN has no convolution for.
///
/// Every output element is one sum in a fixed order, by one thread.
struct ReferenceConvolution: Sendable {
  /// How elements of an image follow each other in memory.
  private struct Strides {
    let batch, channel, row, column: Int

    init(_ shape: ConvolutionShape, channels: Int, height: Int, width: Int) {
      batch = channels * height * width
      (channel, row, column) =
        shape.layout == .nchw
        ? (height * width, width, 1) : (1, width * channels, channels)
    }
  }

  /// One axis of the windows: input = output * stride + tap * dilation - padding.
  private struct Axis {
    let inputs, outputs, taps: Int
    let stride, dilation, padding: Int

    /// The outputs that see an input at this tap.
    func outputs(_ tap: Int) -> Range<Int> {
      let shift = padding - tap * dilation
      let first = max(0, shift + stride - 1) / stride
      let end = inputs - 1 + shift < 0 ? 0 : min(outputs, (inputs - 1 + shift) / stride + 1)
      return min(first, end)..<end
    }

    /// The taps by which an output sees an input.
    func taps(_ output: Int) -> Range<Int> {
      let shift = padding - output * stride
      let first = max(0, shift + dilation - 1) / dilation
      let end = inputs - 1 + shift < 0 ? 0 : min(taps, (inputs - 1 + shift) / dilation + 1)
      return min(first, end)..<end
    }

    /// The input that an output sees at a tap.
    func input(_ output: Int, _ tap: Int) -> Int { output * stride + tap * dilation - padding }
  }

  private let batch, channels, filters, groups: Int
  private let x, y: Strides
  private let rows, columns: Axis

  init(_ shape: ConvolutionShape) {
    (batch, channels, filters, groups) = (
      shape.batch, shape.channels, shape.filters, shape.groups
    )
    x = Strides(shape, channels: shape.channels, height: shape.height, width: shape.width)
    y = Strides(shape, channels: shape.filters, height: shape.outHeight, width: shape.outWidth)
    func axis(_ number: Int, _ inputs: Int, _ outputs: Int, _ taps: Int) -> Axis {
      Axis(
        inputs: inputs, outputs: outputs, taps: taps, stride: shape.window.strides[number],
        dilation: shape.window.dilations[number], padding: shape.window.paddingBefore[number])
    }
    rows = axis(0, shape.height, shape.outHeight, shape.kernelHeight)
    columns = axis(1, shape.width, shape.outWidth, shape.kernelWidth)
  }

  private var filtersPerGroup: Int { filters / groups }
  private var channelsPerGroup: Int { channels / groups }

  /// Where the taps of filter `o` for channel `c` of its group begin.
  private func taps(_ o: Int, _ c: Int) -> Int {
    (o * channelsPerGroup + c) * rows.taps * columns.taps
  }

  /// Arguments: x, w, y and, with bias, bias.
  func forward(_ hasBias: Bool) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (x, w, y) = (
        p(0, as: Double.self), p(1, as: Double.self), p(2, as: Double.self)
      )
      Parallel.run(batch * filters) { part in
        let (n, o) = part.quotientAndRemainder(dividingBy: filters)
        let bias = hasBias ? p(3, as: Double.self)[o] : 0
        let target = y + n * self.y.batch + o * self.y.channel
        for i in 0..<rows.outputs {
          for j in 0..<columns.outputs {
            target[i * self.y.row + j * self.y.column] = sum(x, w, n, o, i, j, from: bias)
          }
        }
      }
    }
  }

  private func sum(
    _ x: UnsafePointer<Double>, _ w: UnsafePointer<Double>, _ n: Int, _ o: Int, _ i: Int, _ j: Int,
    from bias: Double
  ) -> Double {
    var sum = bias
    let (us, vs) = (rows.taps(i), columns.taps(j))
    if us.isEmpty || vs.isEmpty { return sum }
    let firstChannel = o / filtersPerGroup * channelsPerGroup
    let step = columns.dilation * self.x.column
    for c in 0..<channelsPerGroup {
      let plane = n * self.x.batch + (firstChannel + c) * self.x.channel
      for u in us {
        var source =
          x + plane + rows.input(i, u) * self.x.row
          + columns.input(j, vs.lowerBound) * self.x.column
        let weights = w + taps(o, c) + u * columns.taps
        for v in vs {
          sum += source.pointee * weights[v]
          source += step
        }
      }
    }
    return sum
  }

  /// Arguments: w, dy, dx.
  func backwardData() -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (w, dy, dx) = (
        p(0, as: Double.self), p(1, as: Double.self), p(2, as: Double.self)
      )
      Parallel.run(batch * channels) { part in
        let (n, channel) = part.quotientAndRemainder(dividingBy: channels)
        let (group, c) = channel.quotientAndRemainder(dividingBy: channelsPerGroup)
        let target = dx + n * x.batch + channel * x.channel
        for i in 0..<rows.inputs {
          for j in 0..<columns.inputs { target[i * x.row + j * x.column] = 0 }
        }
        for f in 0..<filtersPerGroup {
          let o = group * filtersPerGroup + f
          let gradient = dy + n * y.batch + o * y.channel
          for u in 0..<rows.taps {
            for v in 0..<columns.taps {
              add(w[taps(o, c) + u * columns.taps + v], gradient, u, v, to: target)
            }
          }
        }
      }
    }
  }

  /// Adds dy times the weight at tap (u, v) to what it saw.
  private func add(
    _ weight: Double, _ gradient: UnsafePointer<Double>, _ u: Int, _ v: Int,
    to target: UnsafeMutablePointer<Double>
  ) {
    let js = columns.outputs(v)
    for i in rows.outputs(u) where !js.isEmpty {
      let row =
        target + rows.input(i, u) * x.row + columns.input(js.lowerBound, v) * x.column
      let source = gradient + i * y.row + js.lowerBound * y.column
      for j in 0..<js.count {
        row[j * columns.stride * x.column] += weight * source[j * y.column]
      }
    }
  }

  /// Arguments: x, dy, dw and, with bias, dbias.
  func backwardWeight(_ hasBias: Bool) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (x, dy, dw) = (
        p(0, as: Double.self), p(1, as: Double.self), p(2, as: Double.self)
      )
      Parallel.run(filters) { o in
        let firstChannel = o / filtersPerGroup * channelsPerGroup
        for c in 0..<channelsPerGroup {
          let source = x + (firstChannel + c) * self.x.channel
          for u in 0..<rows.taps {
            for v in 0..<columns.taps {
              dw[taps(o, c) + u * columns.taps + v] = sum(source, dy + o * y.channel, u, v)
            }
          }
        }
        guard hasBias else { return }
        var sum = 0.0
        for n in 0..<batch {
          let gradient = dy + n * y.batch + o * y.channel
          for i in 0..<rows.outputs {
            for j in 0..<columns.outputs { sum += gradient[i * y.row + j * y.column] }
          }
        }
        p(3, as: Double.self)[o] = sum
      }
    }
  }

  /// The sum over the batch of dy times what it saw at tap (u, v).
  private func sum(
    _ x: UnsafePointer<Double>, _ dy: UnsafePointer<Double>, _ u: Int, _ v: Int
  ) -> Double {
    var sum = 0.0
    let (seen, js) = (rows.outputs(u), columns.outputs(v))
    if js.isEmpty { return sum }
    for n in 0..<batch {
      for i in seen {
        let source =
          x + n * self.x.batch + rows.input(i, u) * self.x.row
          + columns.input(js.lowerBound, v) * self.x.column
        let gradient = dy + n * y.batch + i * y.row + js.lowerBound * y.column
        for j in 0..<js.count {
          sum += source[j * columns.stride * self.x.column] * gradient[j * y.column]
        }
      }
    }
    return sum
  }
}
