import Testing

@testable import ABNKernels

/// Which buffers a call may have: apart or the same, padded with anything, none of them overlapping what
/// is written.
@Suite struct BufferTests {
  /// In place and apart are the same bits, rescued channels included.
  @Test(arguments: ABNElement.allCases)
  func apartIsAsInPlace(_ element: ABNElement) throws {
    for geometry in try AgreementTests.geometries() where geometry.countPerChannel < 1000 {
      for activation in [ABNActivation.leakyReLU(alpha: 0.2), .elu(alpha: 1), .prelu, .gelu] {
        var input = LayerInput(geometry, element, activation)
        input.scale[0] = 0
        for set in AgreementTests.sets {
          for outOfPlace in [false, true] {
            var run = LayerRun(input: input, set: set, outOfPlace: outOfPlace)
            let same = try run()
            run.isApart = true
            let apart = try run()
            let what = "\(set) \(element) \(activation) \(geometry) \(outOfPlace)"
            #expect(same.bytes == apart.bytes && same.z == apart.z, "\(what)")
            #expect(same.isIntact && apart.isIntact && apart.paddingIsZero, "\(what)")
          }
        }
      }
    }
  }

  /// Padding is read, never used, and zero in all that is written.
  @Test(arguments: [Double.nan, .infinity, 3])
  func paddingDoesNotMatter(_ padding: Double) throws {
    for (layout, channels) in [(ABNLayout.blocked(8), 13), (.blocked(16), 20), (.blocked(16), 5)] {
      let geometry = try ABNGeometry(outer: 3, channels: channels, spatial: 37, layout: layout)
      for element in ABNElement.allCases {
        for activation in [ABNActivation.leakyReLU(alpha: 0.2), .prelu, .relu, .sigmoid] {
          for given in [false, true] {
            var input = LayerInput(geometry, element, activation)
            if given { input = input.withGivenStatistics() }
            input.scale[1] = 0
            for set in AgreementTests.sets {
              for outOfPlace in [false, true] {
                var run = LayerRun(input: input, set: set, outOfPlace: outOfPlace)
                let clean = try run()
                run.padding = padding
                run.isApart = true
                let dirty = try run()
                let what = "\(set) \(element) \(activation) \(geometry.layout) \(given)"
                #expect(clean.bytes == dirty.bytes && clean.z == dirty.z, "\(what)")
                #expect(dirty.paddingIsZero, "\(what)")
              }
            }
          }
        }
      }
    }
  }

  /// Rescued channels come back bit for bit, wherever they stand.
  @Test(arguments: ABNElement.allCases)
  func rescuedChannelsAreRestoredInEveryLayout(_ element: ABNElement) throws {
    for geometry in try ExactnessTests.geometries(39) {
      var input = LayerInput(geometry, element, .leakyReLU(alpha: 0.1))
      let rescued = [0, 3, 7, 8, 15, 16, 31, 37, 38]
      for channel in rescued { input.scale[channel] = 0 }
      for set in AgreementTests.sets {
        for isApart in [false, true] {
          var run = LayerRun(input: input, set: set)
          run.isApart = isApart
          let result = try run()
          #expect(result.rescued == rescued.count)
          for channel in rescued {
            #expect(
              result.restored[channel] == input.x[channel],
              "\(channel) \(set) \(element) \(geometry.layout)")
          }
        }
      }
    }
  }

  @Test(arguments: ABNElement.allCases)
  func statisticsAlone(_ element: ABNElement) throws {
    for geometry in try AgreementTests.geometries() {
      let input = LayerInput(geometry, element, .identity)
      let number = element.statistics
      let reference = input.reference
      for set in AgreementTests.sets {
        let kernel = try ABNKernel(
          geometry: geometry, element: element, activation: .identity, instructionSet: set)
        let x = Buffer(bytes: kernel.bufferBytes)
        for channel in input.x.indices {
          for (index, value) in input.x[channel].enumerated() {
            element.store(x.base, geometry.offset(channel, index), value)
          }
        }
        let before = x.contents
        let rows = (0..<3).map { _ in Buffer(bytes: geometry.channels * number.bytes) }
        let scratch = Buffer(bytes: kernel.scratchBytes)
        for withRemainder in [false, true] {
          try kernel.statistics(
            of: x.base,
            into: ABNStatistics(
              mean: rows[0].base, variance: rows[1].base,
              meanRemainder: withRemainder ? rows[2].base : nil),
            workspace: ABNWorkspace(scratch: scratch.base))
          let values = rows.map { row in
            (0..<geometry.channels).map { number.load(row.base, $0) }
          }
          let mean =
            withRemainder ? zip(values[0], values[2]).map { $0 + $1 } : values[0]
          let u = number.unitRoundoff
          #expect(relativeError(mean, reference.mean) < 40 * u, "\(set) \(element) \(geometry)")
          #expect(
            relativeError(values[1], reference.variance) < 40 * u,
            "\(set) \(element) \(geometry)")
        }
        #expect(x.contents == before)
        for buffer in rows + [x, scratch] { #expect(buffer.isIntact) }
      }
    }
  }

  /// Each buffer in turn where another is: an error, and nothing written.
  @Test func overlappingBuffersAreErrors() throws {
    let geometry = try ABNGeometry(outer: 2, channels: 3, spatial: 4, layout: .channelSecond)
    let kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .prelu)
    let step = (max(kernel.scratchBytes, kernel.bufferBytes) + 63) / 64 * 64
    let memory = Buffer(bytes: 20 * step)
    memory.base.initializeMemory(as: Float.self, repeating: 0.5, count: 5 * step)
    let slots = memory.base.assumingMemoryBound(to: Int32.self)
    for channel in 0..<3 { slots[channel] = channel == 1 ? 0 : -1 }
    let before = memory.contents
    let names = [
      "destination", "gradient", "output", "scale", "bias", "slopes", "saved mean",
      "saved mean remainder", "saved inverse deviation", "moving mean", "moving variance",
      "scale gradient", "bias gradient", "slopes gradient", "scratch",
    ]
    /// `at` says where each stands, in steps.
    func call(_ function: String, _ at: [Int]) throws {
      func place(_ name: String) -> UnsafeMutableRawPointer {
        memory.base + at[names.firstIndex(of: name)!] * step
      }
      let parameters = ABNParameters(
        scale: place("scale"), bias: place("bias"), slopes: place("slopes"), slopeCount: 3)
      let saved = ABNSavedStatistics(
        mean: place("saved mean"), meanRemainder: place("saved mean remainder"),
        inverseDeviation: place("saved inverse deviation"))
      let state = ABNLayerState(parameters: parameters, saved: saved)
      let workspace = ABNWorkspace(scratch: place("scratch"))
      switch function {
      case "forward":
        try kernel.trainForward(
          source: place("destination"), destination: place("destination"), state: state,
          moving: ABNMovingStatistics(
            mean: place("moving mean"), variance: place("moving variance"), momentum: 0.9),
          workspace: workspace)
      case "given":
        try kernel.globalForward(
          source: place("destination"), destination: place("destination"), state: state,
          given: ABNGivenStatistics(
            mean: place("moving mean"), variance: place("moving variance")),
          workspace: workspace)
      case "backward":
        try kernel.backward(
          ABNBackward(
            mode: .batch, kept: .output(place("output")), gradient: place("destination"),
            destination: place("destination"),
            gradients: ABNGradients(
              scale: place("scale gradient"), bias: place("bias gradient"),
              slopes: place("slopes gradient"))), state: state, workspace: workspace)
      case "restore":
        try kernel.restore(
          source: place("output"), destination: place("destination"), state: state,
          workspace: workspace)
      default:
        try kernel.statistics(
          of: place("output"),
          into: ABNStatistics(
            mean: place("saved mean"), variance: place("saved mean remainder"),
            meanRemainder: place("saved inverse deviation")),
          workspace: workspace)
      }
    }
    let apart = Array(names.indices)
    let tensors = ["destination", "output"]
    let saved = ["saved mean", "saved mean remainder", "saved inverse deviation"]
    let moving = ["moving mean", "moving variance"]
    let parameters = ["scale", "bias", "slopes"]
    let gradients = ["scale gradient", "bias gradient", "slopes gradient"]
    // Which of them a function has, and which of these it writes.
    let functions: [(String, has: [String], writes: [String])] = [
      (
        "forward", ["destination", "scratch"] + saved + moving + parameters,
        ["destination", "scratch"] + saved + moving
      ),
      (
        "given", ["destination", "scratch"] + saved + moving + parameters,
        ["destination", "scratch"] + saved
      ),
      (
        "backward", tensors + ["scratch"] + saved + gradients + parameters,
        ["destination", "scratch"] + gradients
      ),
      (
        "restore", tensors + ["scratch"] + saved + parameters, ["destination", "scratch"]
      ),
      ("statistics", ["output", "scratch"] + saved, ["scratch"] + saved),
    ]
    // What an error calls them where it is not by these names.
    let labels = [
      "given moving mean": "mean", "given moving variance": "variance", "restore output": "source",
      "statistics output": "x", "statistics saved mean": "mean",
      "statistics saved mean remainder": "variance",
      "statistics saved inverse deviation": "mean remainder",
    ]
    for (function, has, writes) in functions {
      for a in has {
        for b in has where a != b && (writes.contains(a) || writes.contains(b)) {
          var at = apart
          at[names.firstIndex(of: a)!] = at[names.firstIndex(of: b)!]
          if tensors.contains(a) && tensors.contains(b) { continue }
          do {
            try call(function, at)
            Issue.record("\(function): \(a) at \(b) is no error")
          } catch let error as KernelError {
            for name in [a, b] {
              #expect(error.what.contains(labels["\(function) \(name)"] ?? name), "\(error)")
            }
          }
          #expect(memory.contents == before, "\(function): something was written")
        }
      }
      try call(function, apart)
      memory.base.copyMemory(from: before, byteCount: before.count)
    }
  }
}
