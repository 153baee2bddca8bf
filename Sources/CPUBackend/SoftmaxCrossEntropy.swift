import ABNOperations
import ABNRuntime
import ABNTensors
import Numerics

extension SoftmaxCrossEntropy: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let arguments = [try c.read(0), try c.read(1), c.write(0), c.write(1)]
    let (soft, ignored) = (softLabel, Int64(ignoreIndex))
    func run<T: VectorFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, loss, y) = (p(0, as: T.self), p(2, as: T.self), p(3, as: T.self))
        lines.forEachGroup(of: T.self) { start, line, width in
          withLineBuffers(T.self) { top, sum, mass in
            let group = SoftmaxGroup<T>(lines: lines, width: width)
            group.maxima(x + start, into: top)
            // The labelled logits, before softmax overwrites them:
            // loss = log(sum) * mass - sum of label * (x - top), mass = the sum of the label.
            let out = loss + line
            if soft {
              group.softTerms(x + start, p(1, as: T.self) + start, top, into: out, mass)
            } else {
              group.hardTerms(
                x + start, p(1, as: Int64.self) + line, ignored, top, into: out, mass)
            }
            group.exponentials(x + start, y + start, top: top, sum: sum)
            // An ignored line is 0 whatever its logits are.
            for j in 0..<width {
              let isIgnored = mass[j] == 0 && out[j] == 0
              out[j] =
                isIgnored ? 0 : group.logarithm(ofSum: sum[j], y + start + j) * mass[j] - out[j]
            }
            group.normalize(y + start, sum: sum)
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension SoftmaxGroup {
  /// The logarithm of a line's sum: where one term, which is 1, is nearly all of it, by way of the others.
  @inline(__always)
  fileprivate func logarithm(ofSum sum: T, _ line: UnsafePointer<T>) -> T {
    guard sum < 1.25 else { return T.log(sum) }
    var rest = 0.0
    for c in 0..<lines.length {
      let term = line[c * lines.inner]
      if term != 1 { rest += Double(term) }
    }
    return T.log(onePlus: T(rest))
  }

  /// terms[j] = x - top at the label of line j, mass[j] = 1; 0 and 0 where the label is `ignored`,
  /// NaN where it is no class.
  @inline(__always)
  fileprivate func hardTerms(
    _ x: UnsafePointer<T>, _ label: UnsafePointer<Int64>, _ ignored: Int64,
    _ top: UnsafePointer<T>, into terms: UnsafeMutablePointer<T>,
    _ mass: UnsafeMutablePointer<T>
  ) {
    for j in 0..<width {
      let given = label[j]
      if given == ignored {
        (terms[j], mass[j]) = (0, 0)
      } else if given >= 0 && given < Int64(lines.length) {
        (terms[j], mass[j]) = (x[Int(given) * lines.inner + j] - top[j], 1)
      } else {
        (terms[j], mass[j]) = (.nan, 1)
      }
    }
  }

  /// terms[j] = the sum of label * (x - top) over line j, mass[j] = the sum of the label. A label of 0 counts
  /// for nothing where its logit is minus infinity. Logits in halves: their difference may overflow.
  @inline(__always)
  fileprivate func softTerms(
    _ x: UnsafePointer<T>, _ label: UnsafePointer<T>, _ top: UnsafePointer<T>,
    into terms: UnsafeMutablePointer<T>, _ mass: UnsafeMutablePointer<T>
  ) {
    if lines.inner == 1 {
      let (half, zero) = (T(0.5), SIMD8<T>(repeating: 0))
      let shift = half * top[0]
      terms[0] =
        2
        * lineSum(
          lines.length,
          {
            let own = vector8(label + $0)
            return (own * (half * vector8(x + $0) - shift)).replacing(
              with: zero, where: own .== zero)
          }, { label[$0] == 0 ? 0 : label[$0] * (half * x[$0] - shift) })
      mass[0] = lineSum(lines.length, { vector8(label + $0) }, { label[$0] })
    } else {
      terms.update(repeating: 0, count: width)
      mass.update(repeating: 0, count: width)
      for c in 0..<lines.length {
        let at = c * lines.inner
        for j in 0..<width {
          let own = label[at + j]
          terms[j] += own == 0 ? 0 : own * (T(0.5) * x[at + j] - T(0.5) * top[j])
          mass[j] += own
        }
      }
      for j in 0..<width { terms[j] *= 2 }
    }
  }
}

extension SoftmaxCrossEntropyGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: forward.axis)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0)]
    let dtype = c.inputType(0).dtype
    c.step(
      arguments,
      run: forward.softLabel
        ? try c.float(dtype, soft(lines, Float.self), soft(lines, Double.self))
        : try c.float(dtype, hard(lines, Float.self), hard(lines, Double.self)))
  }

  private func hard<T: VectorFloat>(
    _ lines: AxisLines, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    let ignored = Int64(forward.ignoreIndex)
    let (length, inner) = (lines.length, lines.inner)
    return { p in
      let (softmax, label) = (p(0, as: T.self), p(1, as: Int64.self))
      let (dloss, out) = (p(2, as: T.self), p(3, as: T.self))
      lines.forEachGroup(of: T.self) { start, line, width in
        withLineBuffers(T.self) { factor, others, _ in
          for j in 0..<width {
            let given = label[line + j]
            let isClass = given >= 0 && given < Int64(length)
            factor[j] = given == ignored ? 0 : isClass ? dloss[line + j] : .nan
          }
          let (y, dx) = (softmax + start, out + start)
          // 1 - y at the label, before y is overwritten; -1 where the difference is as good.
          for j in 0..<width {
            let given = label[line + j]
            guard given >= 0, given < Int64(length) else { continue }
            let place = Int(given)
            others[j] = y[place * inner + j] > 0.5 ? rest(y + j, length, inner, place) : -1
          }
          if inner == 1 {
            let scale = factor[0]
            // An ignored line is 0 whatever its softmax is.
            for i in 0..<length { dx[i] = scale == 0 ? 0 : y[i] * scale }
          } else {
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width { dx[at + j] = factor[j] == 0 ? 0 : y[at + j] * factor[j] }
            }
          }
          for j in 0..<width where label[line + j] != ignored {
            let given = Int(truncatingIfNeeded: label[line + j])
            guard given >= 0, given < length, factor[j] != 0 else { continue }
            let place = given * inner + j
            dx[place] = others[j] < 0 ? dx[place] - factor[j] : -(others[j] * factor[j])
          }
        }
      }
    }
  }

  private func soft<T: VectorFloat>(
    _ lines: AxisLines, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    let (length, inner) = (lines.length, lines.inner)
    return { p in
      let (softmax, labels) = (p(0, as: T.self), p(1, as: T.self))
      let (dloss, out) = (p(2, as: T.self), p(3, as: T.self))
      lines.forEachGroup(of: T.self) { start, line, width in
        let (y, label, dx, d) = (softmax + start, labels + start, out + start, dloss + line)
        withLineBuffers(T.self) { mass, place, value in
          // Before y is overwritten.
          for j in 0..<width { (place[j], value[j]) = certain(y + j, label + j, length, inner) }
          if inner == 1 {
            let own = lineSum(length, { vector8(label + $0) }, { label[$0] })
            let scale = d[0]
            for i in 0..<length { dx[i] = (y[i] * own - label[i]) * scale }
          } else {
            mass.update(repeating: 0, count: width)
            for c in 0..<length {
              for j in 0..<width { mass[j] += label[c * inner + j] }
            }
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width { dx[at + j] = (y[at + j] * mass[j] - label[at + j]) * d[j] }
            }
          }
          for j in 0..<width where place[j] >= 0 { dx[Int(place[j]) * inner + j] = value[j] * d[j] }
        }
      }
    }
  }
}

/// The sum of a line's elements but one; elements are `inner` apart.
@inline(__always)
private func rest<T: CPUFloat>(
  _ x: UnsafePointer<T>, _ length: Int, _ inner: Int, _ place: Int
) -> T {
  if inner == 1 { return lineSum(x, length, without: place) }
  var sum = 0.0
  for c in 0..<length where c != place { sum += Double(x[c * inner]) }
  return T(sum)
}

/// The class of a line whose softmax is above a half, and y * sum(label) - label there, written as
/// y * (the other labels) - label * (the other y); (-1, 0) where no class is.
@inline(__always)
private func certain<T: CPUFloat>(
  _ y: UnsafePointer<T>, _ label: UnsafePointer<T>, _ length: Int, _ inner: Int
) -> (place: T, value: T) {
  for c in 0..<length where y[c * inner] > 0.5 {
    let at = c * inner
    return (
      T(c), y[at] * rest(label, length, inner, c) - label[at] * rest(y, length, inner, c)
    )
  }
  return (-1, 0)
}
