import InPlaceABN
import Testing

/// A gradient is a constant to nobody: where one would flow through it, that is said.
@Suite struct GradientOfGradientTests {
  @Test func aLossOfAGradientIsRefused() throws {
    typealias Layer = @Sendable (Variable) throws -> Variable
    let layers: [Layer] = [
      { try square($0) }, { try sigmoid($0) }, { try elementwiseMul($0, $0) },
      { try fc($0, size: 3) },
      { try softmax($0) }, { try inplaceABN($0) }, { try batchNorm($0) },
    ]
    for layer in layers {
      let builder = ProgramBuilder()
      let error = try #require(
        #expect(throws: ABNError.self) {
          try builder.build {
            let x = try data("x", shape: [4, 3], stopsGradient: false)
            let loss = try mean(square(layer(x)))
            let first = try builder.main.differentiated(loss, withRespectTo: [x])
            builder.replaceMain { $0 = first.program }
            let penalty = try mean(square(first.gradients[x.id]!))
            let all = try elementwiseAdd(loss, penalty)
            _ = try builder.main.differentiated(all, withRespectTo: [x])
          }
        })
      #expect(error.category == .unsupported && "\(error)".contains("gradients of gradients"))
    }
  }

  /// Of the gradient itself, and of a variable behind it, there is one.
  @Test func afterTheGradientThereIsOne() throws {
    let builder = ProgramBuilder()
    let (gradient, second) = try builder.build {
      let x = try data("x", shape: [2], stopsGradient: false)
      let loss = try mean(square(x))
      let first = try builder.main.differentiated(loss, withRespectTo: [x])
      builder.replaceMain { $0 = first.program }
      let gradient = first.gradients[x.id]!
      let penalty = try reduceSum(square(gradient))
      let result = try builder.main.differentiated(penalty, withRespectTo: [gradient])
      builder.replaceMain { $0 = result.program }
      return (gradient, result.gradients[gradient.id]!)
    }
    let values = try Executor(backend: CPUBackend()).run(
      builder.main, feed: ["x": Tensor([Float(3), -1])], fetch: [gradient, second], scope: Scope())
    #expect(values[0].doubles == [3, -1])
    #expect(values[1].doubles == [6, -2])
  }

  /// Two optimizers of one program, as a generator's and a critic's, do not get in each other's way.
  @Test func aSecondLossBesideABackwardPass() throws {
    let builder = ProgramBuilder()
    try builder.build {
      let y = try fc(data("x", shape: [4, 3]), size: 2)
      _ = try SGD(learningRate: 0.1).minimize(mean(square(y)))
      _ = try SGD(learningRate: 0.1).minimize(mean(square(fc(y, size: 1))))
    }
    try builder.main.verify()
  }

  @Test func aKindWithoutAGradientSaysSo() throws {
    let builder = ProgramBuilder()
    let error = try #require(
      #expect(throws: ABNError.self) {
        try builder.build {
          let x = try data("x", shape: [4], stopsGradient: false)
          let place = SourceLocation(fileID: #fileID, line: #line)
          let made = try builder.append(
            UnaryGradient(of: Unary(.square)), [x, x], layer: "odd", source: place)[0]
          let loss = try mean(made)
          _ = try builder.main.differentiated(loss, withRespectTo: [x])
        }
      })
    #expect(error.category == .unsupported && "\(error)".contains("square_grad"), "\(error)")
  }
}
