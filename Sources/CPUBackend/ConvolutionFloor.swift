import ABNDNNL
import ABNGraph
import ABNKernels
import ABNMeasuring
import ABNOperators
import ABNRuntime
import ABNTensors

extension CPUBackend: FloorMeasuring {
  /// Measures buffers of 103 MB on all threads of the team: beyond every cache.
  ///
  /// - Throws: `ABNError(.system)` where there is no memory for it.
  package func machineRates() throws -> MachineRates {
    do {
      let timing = try ABNKernel(
        geometry: ABNGeometry(
          outer: 32, channels: 64, spatial: 112 * 112, layout: .channelSecond),
        element: .float32, activation: .identity
      ).timing(repetitions: 5, team: Parallel.team)
      return MachineRates(readRate: timing.readGBs * 1e9, inPlaceRate: timing.inPlaceGBs * 1e9)
    } catch {
      throw ABNError(.system, error.what, got: error.got, wanted: error.wanted, fix: error.fix)
    }
  }

  /// The time of each float32 convolution of a program, gradients included, run by oneDNN alone:
  /// every tensor in the layout that it likes best, weights too, all of them on random data, one
  /// after the other without anything between.
  ///
  /// Equal convolutions are measured once. The buffers are this function's own and are freed again.
  ///
  /// - Returns: seconds by the operator's position in the program.
  /// - Throws: what oneDNN throws when a primitive is made.
  package func secondsAlone(of program: Program) throws -> [Int: Double] {
    try convolutionSeconds(of: program, repetitions: 3)
  }

  /// As `secondsAlone`.
  ///
  /// - Parameter repetitions: of each; the median counts, after one run that does not.
  func convolutionSeconds(of program: Program, repetitions: Int) throws -> [Int: Double] {
    var known: [ConvolutionProduct: Double] = [:]
    var result: [Int: Double] = [:]
    for (index, op) in program.operators.enumerated() {
      guard let lone = try ConvolutionProduct(op, in: program) else { continue }
      if known[lone] == nil {
        known[lone] = try lone.seconds(repetitions: repetitions) { numbers in
          nonisolated(unsafe) let numbers = numbers
          let random = CounterRandom(seed: 7, stream: 0)
          Parallel.ranges(numbers.count) { range in
            for index in range { numbers[index] = Float(random.uniform(UInt64(index)) - 0.5) }
          }
        }
      }
      result[index] = known[lone]!
    }
    return result
  }
}
