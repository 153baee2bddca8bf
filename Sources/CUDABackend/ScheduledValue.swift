import ABNOperators
import ABNRuntime
import ABNTensors

extension Increment: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    _ = try c.read(0)
    let kernel = try c.kernel([.counters], "increment")
    c.launch([c.write(0)], [try KernelLaunch(kernel, blocks: 1, threads: 1, [.pointer(0)])])
  }
}

extension ScheduledValue: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let arguments = [try c.read(0), c.write(0)]
    let kernel = try c.kernel(
      generated: """
        \(schedule.text)
        extern "C" __global__ void schedule(const i64* counter, \(dtype == .float64 ? "f64" : "f32")* out) {
          i64 step = *counter;
          *out = cast<\(dtype == .float64 ? "f64" : "f32")>(rate(step < 0 ? 0 : step));
        }

        """, "schedule")
    c.launch(
      arguments, [try KernelLaunch(kernel, blocks: 1, threads: 1, [.pointer(0), .pointer(1)])])
  }
}

extension Schedule {
  /// `f64 rate(i64 step)` in C, for a step of 0 or more: the formulas of `Schedule.value(step:)`.
  var text: String {
    """
    __device__ f64 product(f64 rate, f64 factor) {
      f64 value = rate * factor, most = \(Self.largestRate.text);
      return rate == 0.0 ? 0.0 : value < most ? value : most;
    }
    /// From one rate at 0 to the other at 1, flat at both.
    __device__ f64 halfCosine(f64 from, f64 to, f64 fraction) {
      return to + (from - to) * (1.0 + cos(\(Double.pi.text) * fraction)) / 2.0;
    }
    \(functions)
    __device__ f64 rate(i64 step) { return rate0(step); }
    """
  }

  /// A schedule and those behind its rises: `rate0`, the schedule after it `rate1` and so on.
  private var functions: String {
    var (texts, next): ([String], Schedule?) = ([], self)
    while let schedule = next {
      let name = "rate\(texts.count)"
      texts.append(
        "__device__ f64 \(name)(i64 step) {\n\(schedule.body(next: "rate\(texts.count + 1)"))\n}")
      if case .warmedUp(let rise) = schedule { next = rise.next } else { next = nil }
    }
    return texts.reversed().joined(separator: "\n")
  }

  /// The statements of one function; `next` is the name of what follows a rise.
  private func body(next: String) -> String {
    switch self {
    case .constant(let value): return "  return \(value.text);"
    case .piecewise(let boundaries, let values):
      return """
          const f64 values[] = {\(values.map(\.text).joined(separator: ", "))};
        \(Self.counting(boundaries))
          return values[passed];
        """
    case .step(let initial, let every, let factor):
      return
        "  return product(\(initial.text), pow(\(factor.text), (f64)(step / \(every)ll)));"
    case .multiStep(let initial, let milestones, let factor):
      return """
        \(Self.counting(milestones))
          return product(\(initial.text), pow(\(factor.text), (f64)passed));
        """
    case .exponential(let initial, let steps, let rate, let staircase):
      let quotient = "(f64)step / (f64)\(steps)ll"
      return
        "  return product(\(initial.text), "
        + "pow(\(rate.text), \(staircase ? "floor(\(quotient))" : quotient)));"
    case .polynomial(let initial, let steps, let end, let power, let cycle):
      let rounds = cycle ? "(f64)(((step > 1 ? step : 1) - 1) / \(steps)ll + 1)" : "1.0"
      return """
          f64 span = \(rounds) * (f64)\(steps)ll, at = (f64)step < span ? (f64)step : span;
          return \((initial - end).text) * pow(1.0 - at / span, \(power.text)) + \(end.text);
        """
    case .cosine(let initial, let steps, let end, let every):
      return """
          i64 whole = step / \(every)ll * \(every)ll, time = whole < \(steps)ll ? whole : \(steps)ll;
          return halfCosine(\(initial.text), \(end.text), (f64)time / (f64)\(steps)ll);
        """
    case .warmedUp(let rise):
      let target = rise.to.map(\.text) ?? "\(next)(\(rise.steps)ll)"
      return """
          if (step >= \(rise.steps)ll) return \(next)(step);
          f64 from = \(rise.from.text);
          return from + (\(target) - from) * (f64)step / (f64)\(rise.steps)ll;
        """
    case .oneCycle(let peak, let steps, let warmup, let startDivisor, let endDivisor):
      let start = peak / startDivisor
      return """
          f64 last = (f64)\(steps - 1)ll, summit = \(warmup.text) * last;
          f64 time = (f64)step < last ? (f64)step : last;
          if (time < summit) return halfCosine(\(start.text), \(peak.text), time / summit);
          if (last == summit) return \(peak.text);
          return halfCosine(
              \(peak.text), \((start / endDivisor).text), (time - summit) / (last - summit));
        """
    }
  }

  /// `passed`: how many of some steps, which ascend, are at most `step`.
  private static func counting(_ steps: [Int]) -> String {
    guard !steps.isEmpty else { return "  i64 passed = 0;" }
    return """
        const i64 steps[] = {\(steps.map { "\($0)ll" }.joined(separator: ", "))};
        i64 passed = 0;
        for (int i = 0; i < \(steps.count); i++) passed += steps[i] <= step ? 1 : 0;
      """
  }
}

extension Double {
  /// The number in C, exactly.
  fileprivate var text: String { "__longlong_as_double(\(Int64(bitPattern: bitPattern))ll)" }
}
