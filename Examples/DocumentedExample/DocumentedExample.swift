import InPlaceABN

/// The example of the original's documentation: a fully connected layer and two in-place layers.
public func documentedLayers(_ x: Variable, size: Int) throws -> Variable {
  let hidden1 = try fc(x, size: size, paramAttr: "fc1.w")
  let hidden2 = try inplaceABN(hidden1)
  let hidden3 = try inplaceABN(hidden2, act: "leaky_relu", actAlpha: 0.2)
  return hidden3
}

@main
enum DocumentedExample {
  /// Trains the layers for five steps of SGD towards a random target and prints the losses.
  static func main() throws {
    let builder = ProgramBuilder(seed: 1)
    let loss = try builder.build {
      let x = try data("x", shape: [3, 7, 3, 7])
      let target = try data("target", shape: [3, 200])
      let loss = try mean(squareErrorCost(documentedLayers(x, size: 200), target))
      try SGD(learningRate: 0.1).minimize(loss)
      return loss
    }
    let random = CounterRandom(seed: 1, stream: 7)
    let numbers = (0..<(3 * 7 * 3 * 7)).map { Float(random.uniform(UInt64($0))) }
    let wanted = (1000..<1600).map { Float(random.uniform(UInt64($0))) }
    let feed = [
      "x": Tensor(numbers, shape: [3, 7, 3, 7]), "target": Tensor(wanted, shape: [3, 200]),
    ]
    let executor = Executor(backend: CPUBackend())
    let scope = Scope()
    try executor.run(builder.startup, scope: scope)
    for step in 1...5 {
      let value = try executor.run(builder.main, feed: feed, fetch: [loss], scope: scope)[0]
      print("step \(step): loss \(value.doubles[0])")
    }
  }
}
