@testable import ABNRuntime
import Testing

@Suite struct DebugTests {
  @Test func levels() throws {
    #expect(try Debug.parse(nil).get() == 0)
    #expect(try Debug.parse("3").get() == 3)
  }

  @Test(arguments: ["5", "-1", "yes"]) func unknownValuesListTheValidOnes(_ value: String) {
    let error = #expect(throws: (any Error).self) { try Debug.parse(value).get() }
    #expect("\(error!)".contains("\"\(value)\", wanted 0, 1, 2, 3 or 4"))
  }
}
