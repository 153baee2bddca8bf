import Foundation
import InPlaceABN

/// A network of one's own as programs: one that trains, one that evaluates, one that sets
/// parameters.
public struct StripesNetwork {
  public let training, evaluation, startup: Program
  public let loss, accuracy, logits: Variable

  /// Two convolutions with in-place layers and a residual block, for pictures [C, H, W].
  public init(classes: Int, image: Shape, steps: Int, seed: UInt64 = 0) throws {
    let builder = ProgramBuilder(seed: seed)
    (loss, accuracy, logits) = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let labels = try data("labels", shape: [Shape.unknown, 1], dtype: .int64)
      let first = try normalizedConvolution(images, filters: 16)
      let pooled = try pool2d(first, poolSize: 2, poolType: .max, poolStride: 2)
      let second = try normalizedConvolution(pooled, filters: 16)
      let joined = try elementwiseAdd(second, pooled)
      let pool = try pool2d(joined, poolType: .average, globalPooling: true)
      let logits = try fc(pool, size: classes)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels))
      let right = try logits.accuracy(labels)
      _ = try Momentum(
        learningRate: Schedule.oneCycle(peak: 0.1, steps: steps), momentum: 0.9,
        regularization: .l2(1e-4)
      ).minimize(loss)
      return (loss, right, logits)
    }
    (training, startup) = (builder.main, builder.startup)
    // The same network without gradients and updates, on moving statistics.
    evaluation = builder.main.cloned(forTest: true)
  }
}

/// The convolution's output is overwritten by the layer's: one tensor is kept instead of three.
func normalizedConvolution(_ x: Variable, filters: Int) throws -> Variable {
  let y = try conv2d(x, numFilters: filters, filterSize: 3, padding: 1, biasAttr: .absent)
  return try inplaceABN(y, act: "leaky_relu", actAlpha: 0.01)
}

/// Pictures of one's own: stripes along one of four directions, under noise, [count, 1, 12, 12]
/// bytes.
public func stripes(_ count: Int, seed: UInt64) throws -> DataSplit {
  let side = 12
  let random = CounterRandom(seed: seed, stream: 0)
  var bytes: [UInt8] = []
  var labels: [Int32] = []
  for picture in 0..<count {
    let kind = picture % 4
    labels.append(Int32(kind))
    let shift = Int(random.bits(UInt64(picture)) % 4)
    for place in 0..<side * side {
      let (row, column) = place.quotientAndRemainder(dividingBy: side)
      let along = [row, column, row + column, row - column + side][kind]
      let noise = random.uniform(UInt64(count + picture * side * side + place))
      bytes.append(UInt8((along + shift) % 4 < 2 ? 100 + 100 * noise : 155 * noise))
    }
  }
  return try DataSplit(
    images: Tensor(bytes, shape: [count, 1, side, side]), labels: labels)
}

/// Trains epochs `epochs` of the data and returns the mean loss of each.
public func train(
  _ network: StripesNetwork, on dataset: Dataset, epochs: Range<Int>, executor: Executor,
  scope: Scope
) throws -> [Double] {
  let loader = try BatchLoader(
    dataset.train, normalization: dataset.normalization, options: .init(batchSize: 32))
  return try epochs.map { epoch in
    var sum = 0.0
    for batch in loader.epoch(epoch) {
      let feed = ["images": batch.images, "labels": batch.labels]
      sum += try executor.run(network.training, feed: feed, fetch: [network.loss], scope: scope)[0]
        .doubles[0]
    }
    return sum / Double(loader.batchesPerEpoch)
  }
}

/// The share of held-out pictures that are right.
public func evaluate(
  _ network: StripesNetwork, on dataset: Dataset, executor: Executor, scope: Scope
) throws -> Double {
  let loader = try BatchLoader(
    dataset.test, normalization: dataset.normalization,
    options: .init(batchSize: 32, isShuffled: false, lastBatch: .kept))
  var right = 0.0
  for batch in loader.epoch(0) {
    let feed = ["images": batch.images, "labels": batch.labels]
    let share = try executor.run(
      network.evaluation, feed: feed, fetch: [network.accuracy], scope: scope)[0]
    right += share.doubles[0] * Double(batch.count)
  }
  return right / Double(dataset.test.count)
}

@main
enum Main {
  static func main() throws {
    let dataset = try Dataset(
      name: "stripes", classNames: ["rows", "columns", "falling", "rising"],
      train: stripes(1024, seed: 1), test: stripes(256, seed: 2))
    let network = try StripesNetwork(
      classes: dataset.classCount, image: dataset.imageShape, steps: 4 * 32)
    let executor = Executor(backend: CPUBackend())
    let scope = Scope()
    try executor.run(network.startup, scope: scope)
    print(try train(network, on: dataset, epochs: 0..<2, executor: executor, scope: scope))

    // Parameters, moving statistics, velocities, the schedule's counter: all that a run continues
    // from.
    let folder = FileManager.default.temporaryDirectory.path + "/own-network"
    try savePersistables(network.training, scope, to: folder, filename: "state")
    let later = Scope()
    try loadPersistables(network.training, later, from: folder, filename: "state")
    print(try train(network, on: dataset, epochs: 2..<4, executor: executor, scope: later))
    print("right:", try evaluate(network, on: dataset, executor: executor, scope: later))

    // Logits of pictures without labels: what is fetched decides what is needed.
    let batch = try BatchLoader(
      dataset.test, normalization: dataset.normalization,
      options: .init(batchSize: 4, isShuffled: false)
    ).epoch(0).makeIterator().next()!
    let logits = try executor.run(
      network.evaluation, feed: ["images": batch.images], fetch: [network.logits], scope: later)[0]
    print("logits:", logits.shape)
  }
}
