import ABNGraph
import ABNLayers
import ABNTensors
import Testing

@testable import ABNCPUBackend

@Suite struct ConvolutionFloorTests {
  @Test func everyConvolutionHasATime() throws {
    let builder = ProgramBuilder(seed: 1)
    let shape: Shape = [2, 16, 8, 8]
    try builder.build {
      let x = try data("x", shape: shape)
      let y = try conv2d(x, numFilters: 16, filterSize: 3, padding: 1)
      // Equal to the first, and a grouped one.
      let z = try conv2d(y, numFilters: 16, filterSize: 3, padding: 1)
      _ = try relu(conv2d(z, numFilters: 32, filterSize: 3, stride: 2, groups: 2))
    }
    let operators = builder.main.operators
    let convolutions = operators.indices.filter { operators[$0].kindName == "conv2d" }
    let seconds = try CPUBackend().convolutionSeconds(of: builder.main, repetitions: 1)
    #expect(seconds.keys.sorted() == convolutions)
    #expect(seconds.values.allSatisfy { $0 > 0 })
    #expect(seconds[convolutions[0]] == seconds[convolutions[1]], "one measurement for equal ones")
  }
}
