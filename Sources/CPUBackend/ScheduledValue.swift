import ABNOperators
import ABNRuntime
import ABNTensors

extension ScheduledValue: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let arguments = [try c.read(0), c.write(0)]
    let schedule = schedule
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in p(1, as: T.self)[0] = T(schedule.value(step: Int(p(0, as: Int64.self)[0]))) }
    }
    c.step(arguments, run: try c.float(dtype, run(Float.self), run(Double.self)))
  }
}

extension Increment: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    _ = try c.read(0)
    c.step([c.write(0)]) { p in p(0, as: Int64.self)[0] &+= 1 }
  }
}
