import ABNRuntime
import ABNTensors

/// Convolution as written, for element types that oneDNN has no convolution for (float64).
///
/// Every output element is one sum in a fixed order, by one thread.
struct ReferenceConvolution: Sendable {
  let shape: ConvolutionShape

  init(_ shape: ConvolutionShape) { self.shape = shape }

  private func offset(_ n: Int, _ c: Int, _ i: Int, _ j: Int, _ dims: [Int]) -> Int {
    shape.layout == .nchw
      ? ((n * dims[1] + c) * dims[2] + i) * dims[3] + j
      : ((n * dims[2] + i) * dims[3] + j) * dims[1] + c
  }

  private var filtersPerGroup: Int { shape.filters / shape.groups }
  private var channelsPerGroup: Int { shape.channels / shape.groups }

  /// Calls `body` with each output row and column whose window has its tap (u, v) at (i, j), or
  /// with each tap that an output at (i, j) sees: y = (i + before - u * dilation) / stride.
  private func source(_ output: Int, _ tap: Int, _ axis: Int) -> Int {
    output * shape.window.strides[axis] + tap * shape.window.dilations[axis]
      - shape.window.paddingBefore[axis]
  }

  /// Arguments: x, w, y and, with bias, bias.
  func forward<T: CPUFloat>(_ hasBias: Bool, _: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in
      let (x, w, y) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.run(shape.batch * shape.filters) { part in
        let (n, o) = part.quotientAndRemainder(dividingBy: shape.filters)
        let firstChannel = o / filtersPerGroup * channelsPerGroup
        for i in 0..<shape.outHeight {
          for j in 0..<shape.outWidth {
            var sum = hasBias ? p(3, as: T.self)[o] : 0
            for c in 0..<channelsPerGroup {
              for u in 0..<shape.kernelHeight {
                let row = source(i, u, 0)
                guard row >= 0, row < shape.height else { continue }
                for v in 0..<shape.kernelWidth {
                  let column = source(j, v, 1)
                  guard column >= 0, column < shape.width else { continue }
                  sum +=
                    x[offset(n, firstChannel + c, row, column, shape.source)]
                    * w[
                      ((o * channelsPerGroup + c) * shape.kernelHeight + u) * shape.kernelWidth + v]
                }
              }
            }
            y[offset(n, o, i, j, shape.destination)] = sum
          }
        }
      }
    }
  }

  /// Arguments: w, dy, dx.
  func backwardData<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in
      let (w, dy, dx) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.run(shape.batch * shape.channels) { part in
        let (n, channel) = part.quotientAndRemainder(dividingBy: shape.channels)
        let (group, c) = channel.quotientAndRemainder(dividingBy: channelsPerGroup)
        for row in 0..<shape.height {
          for column in 0..<shape.width {
            dx[offset(n, channel, row, column, shape.source)] = 0
          }
        }
        for f in 0..<filtersPerGroup {
          let o = group * filtersPerGroup + f
          for u in 0..<shape.kernelHeight {
            for v in 0..<shape.kernelWidth {
              let weight =
                w[((o * channelsPerGroup + c) * shape.kernelHeight + u) * shape.kernelWidth + v]
              for i in 0..<shape.outHeight {
                let row = source(i, u, 0)
                guard row >= 0, row < shape.height else { continue }
                for j in 0..<shape.outWidth {
                  let column = source(j, v, 1)
                  guard column >= 0, column < shape.width else { continue }
                  dx[offset(n, channel, row, column, shape.source)] +=
                    weight * dy[offset(n, o, i, j, shape.destination)]
                }
              }
            }
          }
        }
      }
    }
  }

  /// Arguments: x, dy, dw and, with bias, dbias.
  func backwardWeight<T: CPUFloat>(
    _ hasBias: Bool, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    { p in
      let (x, dy, dw) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.run(shape.filters) { o in
        let firstChannel = o / filtersPerGroup * channelsPerGroup
        for c in 0..<channelsPerGroup {
          for u in 0..<shape.kernelHeight {
            for v in 0..<shape.kernelWidth {
              var sum = T(0)
              for n in 0..<shape.batch {
                for i in 0..<shape.outHeight {
                  let row = source(i, u, 0)
                  guard row >= 0, row < shape.height else { continue }
                  for j in 0..<shape.outWidth {
                    let column = source(j, v, 1)
                    guard column >= 0, column < shape.width else { continue }
                    sum +=
                      x[offset(n, firstChannel + c, row, column, shape.source)]
                      * dy[offset(n, o, i, j, shape.destination)]
                  }
                }
              }
              dw[((o * channelsPerGroup + c) * shape.kernelHeight + u) * shape.kernelWidth + v] =
                sum
            }
          }
        }
        if hasBias {
          var sum = T(0)
          for n in 0..<shape.batch {
            for i in 0..<shape.outHeight {
              for j in 0..<shape.outWidth { sum += dy[offset(n, o, i, j, shape.destination)] }
            }
          }
          p(3, as: T.self)[o] = sum
        }
      }
    }
  }
}
