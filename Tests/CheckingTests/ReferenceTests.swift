import ABNChecking
import InPlaceABN
import Testing

@Suite struct CheckTests {
  @Test func x() {}
}
