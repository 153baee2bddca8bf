import ABNRuntime
import Testing

@Suite struct FloorMeasuringTests {
  @Test func pairsOfBytesMoveInPlace() {
    let rates = MachineRates(readRate: 10, inPlaceRate: 4)
    #expect(rates.seconds(reading: 20, writing: 0) == 2)
    #expect(rates.seconds(reading: 20, writing: 20) == 10)
    #expect(rates.seconds(reading: 40, writing: 20) == 12)
    #expect(rates.seconds(reading: 0, writing: 0) == 0)
  }
}
