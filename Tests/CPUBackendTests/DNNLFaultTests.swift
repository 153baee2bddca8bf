import ABNDNNL
@testable import ABNCPUBackend
import ABNGraph
import ABNInspection
import ABNLayers
import ABNOperators
import ABNRuntime
import ABNTensors
import Testing

/// Implementations that are passed over because they are wrong, and what the plan says of it.
@Suite struct DNNLFaultTests {
  private static func product(
    _ direction: ConvolutionProduct.Direction, channels: Int, filters: Int = 8, groups: Int = 1,
    kernel: [Int] = [1, 1], stride: [Int] = [2, 2], padding: [[Int]] = [[0, 0], [0, 0]],
    adds: Bool = false
  ) throws -> ConvolutionProduct {
    let window = Window2D(kernel: kernel, stride: stride, padding: .explicit(padding))
    return ConvolutionProduct(
      direction,
      try ConvolutionShape(
        Conv2D(window: window, groups: groups, layout: .nhwc), x: [2, 8, 8, channels],
        w: Shape([filters, channels / groups] + kernel)),
      hasBias: false, epilogue: adds ? DNNLEpilogue(addsDestination: true) : nil)
  }

  /// The rules are as narrow as the faults.
  @Test func onlyWhatIsWrongIsPassedOver() throws {
    func fault(_ product: ConvolutionProduct) -> DNNLFault? { product.fault }
    for channels in 1...15 {
      #expect(fault(try Self.product(.weightGradient, channels: channels)) == .stridedPoint)
    }
    #expect(fault(try Self.product(.weightGradient, channels: 16)) == nil)
    #expect(fault(try Self.product(.weightGradient, channels: 3, stride: [1, 1])) == nil)
    #expect(fault(try Self.product(.weightGradient, channels: 3, kernel: [3, 3])) == nil)
    #expect(fault(try Self.product(.forward, channels: 3)) == nil)
    #expect(fault(try Self.product(.dataGradient, channels: 3)) == nil)
    let outside = [[2, 0], [0, 0]]
    #expect(fault(try Self.product(.forward, channels: 16, padding: outside)) == nil)
    #expect(
      fault(try Self.product(.forward, channels: 16, padding: outside, adds: true))
        == .sumInPadding)
    #expect(fault(try Self.product(.forward, channels: 16, adds: true)) == nil)
    #expect(
      fault(
        try Self.product(.forward, channels: 16, kernel: [3, 3], padding: outside, adds: true))
        == nil)
    for (channels, wanted) in [(7, DNNLFault.depthwiseSum), (8, nil)] as [(Int, DNNLFault?)] {
      #expect(
        fault(
          try Self.product(
            .forward, channels: channels, filters: channels, groups: channels, kernel: [3, 3],
            adds: true)) == wanted)
    }
  }

  /// What is passed over is not what runs, and is noted where it would have run.
  @Test func anotherImplementationTakesItsPlace() throws {
    for product in [
      try Self.product(.weightGradient, channels: 5),
      try Self.product(.forward, channels: 16, padding: [[2, 0], [0, 0]], adds: true),
      try Self.product(
        .forward, channels: 7, filters: 7, groups: 7, kernel: [3, 3], adds: true),
    ] {
      let fault = try #require(product.fault)
      let made = try product.made(usesBlocks: true)
      #expect(!made.primitive.implementation.hasPrefix(fault.prefix))
      #expect((made.note != nil) == (made.primitive.passedOver != nil))
      #expect(made.primitive.passedOver?.hasPrefix(fault.prefix) != false)
      if let note = made.note { #expect(note.contains(fault.reason)) }
    }
  }

  /// `abn plan` and `ABN_VERBOSE=3` tell where a step is not the library's first choice.
  @Test func detoursAreInThePlan() throws {
    let builder = ProgramBuilder(seed: 3)
    let loss = try builder.build {
      let x = try data("x", shape: [2, 8, 8, 5])
      return try mean(
        conv2d(
          x, numFilters: 8, filterSize: 1, stride: 2, biasAttr: .absent, dataLayout: .nhwc))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: builder.main.parameters)
    let executable = try Executor(backend: CPUBackend()).compile(
      result.program, feed: ["x": [2, 8, 8, 5]],
      fetch: result.gradients.values.sorted { $0.id < $1.id })
    let made = try Self.product(.weightGradient, channels: 5).made(usesBlocks: true)
    let detours = MemoryReport(executable, program: result.program).detours
    #expect(detours.count == (made.note == nil ? 0 : 1))
    for detour in detours {
      #expect(detour.action == "avoid" && detour.layer == "conv2d_0" && detour.bytes == 0)
      #expect(detour.reason.contains(made.note!), "\(detour.reason)")
    }
  }
}
