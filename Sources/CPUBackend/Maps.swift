import ABNRuntime

// Steps over flat arrays. The function is inlined into the loop, so that the compiler can use
// vectors; reads come before the write of the same element, so that they may run in place.

/// argument 1 [i] = f(argument 0 [i]).
@inline(__always)
func mapStep<T: CPUFloat>(
  _ count: Int, _ f: @escaping @Sendable (T) -> T
) -> @Sendable (StepPointers) -> Void {
  { p in
    let x = p(0, as: T.self)
    let y = p(1, as: T.self)
    Parallel.ranges(count) { range in
      for i in range { y[i] = f(x[i]) }
    }
  }
}

/// argument 2 [i] = f(argument 0 [i], argument 1 [i]).
@inline(__always)
func zipStep<T: CPUFloat>(
  _ count: Int, _ f: @escaping @Sendable (T, T) -> T
) -> @Sendable (StepPointers) -> Void {
  { p in
    let x = p(0, as: T.self)
    let y = p(1, as: T.self)
    let z = p(2, as: T.self)
    Parallel.ranges(count) { range in
      for i in range { z[i] = f(x[i], y[i]) }
    }
  }
}
