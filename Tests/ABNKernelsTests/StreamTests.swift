import ABNKernels
import Testing

/// Results that go past the caches are the same bits, whatever their alignment and number.
@Suite struct StreamTests {
  @Test func sameBits() throws {
    let most = 1000
    let x = UnsafeMutablePointer<Float>.allocate(capacity: most)
    let results = UnsafeMutableRawPointer.allocate(byteCount: 2 * 4 * 1024, alignment: 64)
    defer {
      x.deallocate()
      results.deallocate()
    }
    for i in 0..<most { x[i] = Float(i % 97) / 16 - 3 }
    for set in ABNInstructionSet.allCases where set.isSupported {
      for activation in Activation.all {
        let loop = try FlatKernel(.activation(activation.with(alpha: 0.5)), instructionSet: set)
        for (start, count) in [(0, 1000), (0, 992), (0, 7), (1, 640), (16, 33)] {
          let out = results.assumingMemoryBound(to: Float.self)
          out.update(repeating: 0, count: 2048)
          for isStreamed in [false, true] {
            var operands = FlatOperands(
              FlatOperand(x, .float32),
              FlatOperand(out + start + (isStreamed ? 1024 : 0), .float32))
            operands.streams = isStreamed
            loop(operands, 0..<count)
          }
          for i in 0..<1024 where out[i].bitPattern != out[1024 + i].bitPattern {
            Issue.record("\(activation.name) \(set) \(start) \(count) at \(i)")
          }
          #expect(out[start + count - 1] != 0 || x[count - 1] <= 0)
        }
      }
    }
  }
}
