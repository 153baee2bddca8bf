import ABNTestSupport
import InPlaceABN
import Testing

/// What stands for a parameter of one's own, for the layer's choice, and for none.
@Suite struct ParamAttrTests {
  private func parameters(_ build: (Variable) throws -> Variable) throws -> [String] {
    let builder = ProgramBuilder()
    _ = try builder.build { try build(data("x", shape: [2, 3, 8, 8])) }
    return builder.main.parameters.map(\.name)
  }

  @Test func nilIsTheDefault() throws {
    #expect(try parameters { try fc($0, size: 4) } == ["fc_0.w_0", "fc_0.b_0"])
    #expect(
      try parameters { try fc($0, size: 4, paramAttr: nil, biasAttr: nil) }
        == ["fc_0.w_0", "fc_0.b_0"])
    for hasBias in [true, false] {
      let names = try parameters {
        try conv2d($0, numFilters: 4, filterSize: 3, biasAttr: hasBias ? nil : .absent)
      }
      #expect(names == (hasBias ? ["conv2d_0.w_0", "conv2d_0.b_0"] : ["conv2d_0.w_0"]))
    }
  }

  @Test func absentIsNone() throws {
    #expect(try parameters { try fc($0, size: 4, biasAttr: .absent) } == ["fc_0.w_0"])
    // Of a normalization, the constant that leaves its formula as it is.
    let builder = ProgramBuilder()
    _ = try builder.build {
      try inplaceABN(data("x", shape: [4, 3]), paramAttr: .absent, biasAttr: .absent)
    }
    #expect(builder.main.parameters.allSatisfy { $0.parameterTraits?.trainable == false })
  }

  @Test func namesMayBeInterpolated() throws {
    let names = try parameters { x in
      var y = x
      for i in 0..<2 { y = try fc(y, size: 4, paramAttr: "block\(i).w", biasAttr: "block\(i).b") }
      return y
    }
    #expect(names == ["block0.w", "block0.b", "block1.w", "block1.b"])
  }

  /// `.none` says nil to Swift, and nil is a bias: to whom it once meant no bias, the compiler says what to write.
  @Test(.timeLimit(.minutes(2))) func noneDoesNotCompile() throws {
    func program(_ attribute: String) -> String {
      """
      import InPlaceABN
      func layers(_ x: Variable) throws -> Variable {
        try fc(conv2d(x, numFilters: 4, filterSize: 3, biasAttr: \(attribute)), size: 2)
      }
      """
    }
    guard let right = try Typecheck.errors(of: program(".absent")) else { return }
    #expect(right == [])
    for wrong in [".none", "ParamAttr.none"] {
      let errors = try Typecheck.errors(of: program(wrong)) ?? []
      #expect(errors.count == 1)
      #expect(errors.first?.contains("write .absent") == true, "\(errors)")
    }
  }
}
