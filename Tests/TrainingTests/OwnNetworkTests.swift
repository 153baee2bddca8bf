import ABNTestSupport
import Foundation
import InPlaceABN
import OwnNetwork
import Testing

/// The example of `Documentation/OwnNetwork.md`.
@Suite struct OwnNetworkTests {
  let dataset: Dataset
  let network: StripesNetwork

  init() throws {
    dataset = try Dataset(
      name: "stripes", classNames: ["rows", "columns", "falling", "rising"],
      train: stripes(256, seed: 1), test: stripes(100, seed: 2))
    network = try StripesNetwork(classes: 4, image: dataset.imageShape, steps: 4 * 8)
  }

  private func started(_ executor: Executor) throws -> Scope {
    let scope = Scope()
    try executor.run(network.startup, scope: scope)
    return scope
  }

  /// A run that is saved and continued by a new process's scope has the losses of one without a break.
  @Test func goesOnFromWhereItStopped() throws {
    let executor = Executor(backend: CPUBackend())
    let whole = try train(
      network, on: dataset, epochs: 0..<4, executor: executor, scope: started(executor))
    let first = try started(executor)
    var losses = try train(network, on: dataset, epochs: 0..<2, executor: executor, scope: first)
    let folder = FileManager.default.temporaryDirectory.path + "/own-network-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try savePersistables(network.training, first, to: folder, filename: "state")
    let second = Scope()
    try loadPersistables(network.training, second, from: folder, filename: "state")
    let other = Executor(backend: CPUBackend())
    losses += try train(network, on: dataset, epochs: 2..<4, executor: other, scope: second)
    #expect(losses == whole)
    #expect(whole[3] < 0.5 * whole[0])
  }

  @Test func learnsAndPredicts() throws {
    let executor = Executor(backend: CPUBackend())
    let scope = try started(executor)
    _ = try train(network, on: dataset, epochs: 0..<4, executor: executor, scope: scope)
    #expect(try evaluate(network, on: dataset, executor: executor, scope: scope) > 0.9)
    let logits = try executor.run(
      network.evaluation, feed: ["images": Tensor(zeros: [3, 1, 12, 12], dtype: .float32)],
      fetch: [network.logits], scope: scope)[0]
    #expect(logits.shape == [3, 4])
  }
}
