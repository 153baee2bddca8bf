import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension SoftmaxCrossEntropy: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let arguments = [try c.read(0), try c.read(1), c.write(0), c.write(1)]
    let kernels = try SoftmaxKernels(c.element(c.inputType(0).dtype))
    let terms = try LabelTerms(kernels.element)
    let (soft, ignored) = (softLabel, Int64(ignoreIndex))
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let (x, loss, y) = (
          p(0, as: T.self), p(2, as: T.self), p(3, as: T.self)
        )
        lines.forEachGroup(of: kernels.element) { start, line, width in
          withLineBuffers(T.self) { top, sum, mass in
            let group = SoftmaxGroup<T>(lines: lines, width: width, kernels: kernels)
            group.maxima(x + start, into: top)
            // The labelled logits, before softmax overwrites them:
            // loss = log(sum) * mass - sum of label * (x - top), mass = the sum of the label.
            let out = loss + line
            if soft {
              terms.run(group, x + start, p(1, as: T.self) + start, top, into: out, mass)
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
    let loss = try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self))
    let (classes, count) = (lines.length, lines.outer * lines.inner)
    c.step(
      arguments,
      run: soft
        ? loss
        : { p in
          try checkLabels(p(1, as: Int64.self), count: count, classes: classes, ignored: ignored)
          loss(p)
        })
  }
}

/// - Throws: `ABNError(.data)` for the first label that is neither a class nor `ignored`.
func checkLabels(
  _ labels: UnsafePointer<Int64>, count: Int, classes: Int, ignored: Int64
) throws {
  // Without a branch, so that many labels are compared at a time.
  let most = UInt64(classes)
  var wrong = 0
  for i in 0..<count {
    wrong &+= (UInt64(bitPattern: labels[i]) >= most ? 1 : 0) & (labels[i] != ignored ? 1 : 0)
  }
  guard wrong > 0 else { return }
  let first = (0..<count).first {
    UInt64(bitPattern: labels[$0]) >= most && labels[$0] != ignored
  }!
  throw ABNError(
    .data, "label of row \(first)", got: "\(labels[first])",
    wanted: "a class in 0..<\(classes), or \(ignored) for a row that does not count",
    fix: wrong == 1 ? "" : "There are \(wrong) such labels among the \(count).")
}

extension SoftmaxGroup {
  /// The logarithm of a line's sum: where one term, which is 1, is nearly all of it, by way of the
  /// others.
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
}

/// The terms of soft labels.
private struct LabelTerms: Sendable {
  let term, sum: FlatKernel

  init(_ element: ABNElement) throws {
    term = try FlatKernel(.labelTerm, in: element)
    sum = try FlatKernel(.sumLabelTerm, in: element)
  }

  /// terms[j] = the sum of label * (x - top) over line j, mass[j] = the sum of the label. A label
  /// of 0 counts for nothing where its logit is minus infinity. Logits in halves: their difference
  /// may overflow.
  func run<T: CPUFloat>(
    _ group: SoftmaxGroup<T>, _ x: UnsafePointer<T>, _ label: UnsafePointer<T>,
    _ top: UnsafePointer<T>, into terms: UnsafeMutablePointer<T>, _ mass: UnsafeMutablePointer<T>
  ) {
    let (lines, width, kernels) = (group.lines, group.width, group.kernels)
    if lines.inner == 1 {
      let operands = FlatOperands(
        kernels.array(x), kernels.array(label), kernels.number(top), .none)
      terms[0] = T(2 * sum.total(operands, 0..<lines.length))
      mass[0] = group.sum(label)
      return
    }
    terms.update(repeating: 0, count: width)
    mass.update(repeating: 0, count: width)
    let (own, total, shift) = (kernels.array(terms), kernels.array(mass), kernels.array(top))
    for c in 0..<lines.length {
      let (x, label) = (kernels.array(x + c * lines.inner), kernels.array(label + c * lines.inner))
      term(FlatOperands(x, label, shift, own, own), 0..<width)
      kernels.add(FlatOperands(total, label, total), 0..<width)
    }
    for j in 0..<width { terms[j] *= 2 }
  }
}

extension SoftmaxCrossEntropyGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: forward.axis)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0)]
    let dtype = c.inputType(0).dtype
    let kernels = try SoftmaxKernels(c.element(dtype))
    let loop = try FlatKernel(
      forward.softLabel ? .softLabelGradient : .hardLabelGradient, in: kernels.element)
    c.step(
      arguments,
      run: forward.softLabel
        ? try c.float(
          dtype, soft(lines, kernels, loop, Float.self), soft(lines, kernels, loop, Double.self))
        : try c.float(
          dtype, hard(lines, kernels, loop, Float.self), hard(lines, kernels, loop, Double.self)))
  }

  private func hard<T: CPUFloat>(
    _ lines: AxisLines, _ kernels: SoftmaxKernels, _ loop: FlatKernel, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    let ignored = Int64(forward.ignoreIndex)
    let (length, inner) = (lines.length, lines.inner)
    return { p in
      nonisolated(unsafe) let (softmax, label) = (p(0, as: T.self), p(1, as: Int64.self))
      nonisolated(unsafe) let (dloss, out) = (p(2, as: T.self), p(3, as: T.self))
      lines.forEachGroup(of: kernels.element) { start, line, width in
        let group = SoftmaxGroup<T>(lines: lines, width: width, kernels: kernels)
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
            others[j] = y[place * inner + j] > 0.5 ? group.rest(y + j, without: place) : -1
          }
          // An ignored line is 0 whatever its softmax is.
          group.rows(y, dx) { y, dx, range in
            let own = inner == 1 ? kernels.number(factor) : kernels.array(factor)
            loop(FlatOperands(y, own, dx), range)
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

  private func soft<T: CPUFloat>(
    _ lines: AxisLines, _ kernels: SoftmaxKernels, _ loop: FlatKernel, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    let inner = lines.inner
    return { p in
      nonisolated(unsafe) let (softmax, labels) = (p(0, as: T.self), p(1, as: T.self))
      nonisolated(unsafe) let (dloss, out) = (p(2, as: T.self), p(3, as: T.self))
      lines.forEachGroup(of: kernels.element) { start, line, width in
        let group = SoftmaxGroup<T>(lines: lines, width: width, kernels: kernels)
        let (y, label, dx, d) = (softmax + start, labels + start, out + start, dloss + line)
        withLineBuffers(T.self) { mass, place, value in
          // Before y is overwritten.
          for j in 0..<width { (place[j], value[j]) = group.certain(y + j, label + j) }
          if inner == 1 {
            mass[0] = group.sum(label)
          } else {
            mass.update(repeating: 0, count: width)
            group.rows(label, mass) { label, _, range in
              kernels.add(FlatOperands(kernels.array(mass), label, kernels.array(mass)), range)
            }
          }
          func own(_ x: UnsafePointer<T>) -> FlatOperand {
            inner == 1 ? kernels.number(x) : kernels.array(x)
          }
          var at = 0
          group.rows(y, dx) { y, dx, range in
            loop(FlatOperands(y, kernels.array(label + at), own(mass), own(d), dx), range)
            at += inner
          }
          for j in 0..<width where place[j] >= 0 { dx[Int(place[j]) * inner + j] = value[j] * d[j] }
        }
      }
    }
  }
}

extension SoftmaxGroup {
  /// Calls `body` with the pieces of contiguous elements of a group in two arrays.
  fileprivate func rows(
    _ x: UnsafePointer<T>, _ y: UnsafePointer<T>,
    _ body: (FlatOperand, FlatOperand, Range<Int>) -> Void
  ) {
    if lines.inner == 1 { return body(kernels.array(x), kernels.array(y), 0..<lines.length) }
    for c in 0..<lines.length {
      body(kernels.array(x + c * lines.inner), kernels.array(y + c * lines.inner), 0..<width)
    }
  }

  /// The class of a line whose softmax is above a half, and y * sum(label) - label there, written
  /// as y * (the other labels) - label * (the other y); (-1, 0) where no class is.
  fileprivate func certain(
    _ y: UnsafePointer<T>, _ label: UnsafePointer<T>
  ) -> (place: T, value: T) {
    for c in 0..<lines.length where y[c * lines.inner] > 0.5 {
      let at = c * lines.inner
      return (T(c), y[at] * rest(label, without: c) - label[at] * rest(y, without: c))
    }
    return (-1, 0)
  }
}
