import ABNTensors
import InPlaceABN
import Testing

@testable import ABNPlanning

@Suite struct PlanTests {
  /// A random chain-like request: every step reads some earlier buffers, writes one or two, and
  /// wishes to share with what it reads.
  static func randomRequest(seed: UInt64, steps: Int) -> PlanRequest {
    var random = SequentialRandom(CounterRandom(seed: seed, stream: 0))
    var buffers: [PlanBuffer] = []
    var plan: [PlanStep] = []
    func add(_ bytes: Int, _ use: BufferUse) -> BufferID {
      buffers.append(PlanBuffer(name: "b\(buffers.count)", bytes: bytes, use: use))
      return BufferID(buffers.count - 1)
    }
    var made = [add(Int.random(in: 1...4096, using: &random), .feed)]
    let kept = add(100, .persistent)
    for step in 0..<steps {
      let reads = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        made[max(0, made.count - Int.random(in: 1...8, using: &random))]
      }
      let bytes =
        Bool.random(using: &random)
        ? buffers[reads[0].index].bytes : Int.random(in: 1...4096, using: &random)
      let output = add(bytes, step % 2 == 0 ? .activation : .gradient)
      let scratch = add(Int.random(in: 0...512, using: &random), .scratch)
      var sharing: [BufferSharing] = []
      for read in reads where Bool.random(using: &random) {
        sharing.append(
          BufferSharing(
            output: output, input: read, Bool.random(using: &random) ? .overwrite : .view))
      }
      plan.append(
        PlanStep(
          name: "s\(step)", reads: Array(Set(reads)) + (step % 5 == 0 ? [kept] : []),
          writes: [output, scratch], sharing: sharing))
      made.append(output)
    }
    buffers[made.last!.index].isFetched = true
    buffers[made[made.count / 2].index].isFetched = true
    return PlanRequest(buffers: buffers, steps: plan)
  }

  /// Runs the plan with numbers for values: every step writes a new value into all bytes of its
  /// outputs and checks that its inputs still hold what their makers (or views) put there.
  static func simulate(_ request: PlanRequest, _ plan: MemoryPlan) throws {
    var arena = [Int](repeating: -1, count: plan.arenaBytes + 1)
    var value: [BufferID: Int] = [:]
    func fill(_ id: BufferID, _ number: Int) {
      let offset = plan.offsets[id.index]!
      for byte in offset..<offset + request.buffers[id.index].bytes { arena[byte] = number }
      value[id] = number
    }
    func check(_ id: BufferID, _ when: String) {
      guard request.buffers[id.index].use != .persistent else { return }
      let offset = plan.offsets[id.index]!
      for byte in offset..<offset + request.buffers[id.index].bytes
      where arena[byte] != value[id] {
        Issue.record("\(request.buffers[id.index].name) was damaged \(when)")
        return
      }
    }
    for (index, buffer) in request.buffers.enumerated() where buffer.use == .feed {
      fill(BufferID(index), index)
    }
    for (time, step) in request.steps.enumerated() {
      for id in step.reads { check(id, "before \(step.name)") }
      for id in step.writes where request.buffers[id.index].use != .persistent {
        let view = plan.decisions.first {
          $0.step == time && $0.sharing.output == id && $0.refusal == nil
            && $0.sharing.kind == .view
        }
        if let view {
          value[id] = value[view.sharing.input]
        } else {
          fill(id, 1_000_000 + id.index)
        }
      }
    }
    for (index, buffer) in request.buffers.enumerated() where buffer.isFetched {
      check(BufferID(index), "before it was fetched")
    }
  }

  @Test(arguments: 0..<200) func livesNeverOverlap(_ seed: Int) throws {
    let request = Self.randomRequest(seed: UInt64(seed), steps: 5 + seed % 40)
    let plan = MemoryPlan(request)
    #expect(plan.arenaBytes >= plan.lowerBoundBytes)
    try Self.simulate(request, plan)
  }

  /// A thousand requests of random sizes and lives: within 5 % of the bound, though it may be out of
  /// reach.
  @Test(arguments: 0..<4) func closeToTheLowerBound(_ quarter: Int) {
    for seed in quarter * 250..<(quarter + 1) * 250 {
      let plan = MemoryPlan(Self.randomRequest(seed: UInt64(seed), steps: 20 + seed % 100))
      #expect(
        Double(plan.arenaBytes) <= 1.05 * Double(plan.lowerBoundBytes),
        "seed \(seed): \(plan.arenaBytes) of \(plan.lowerBoundBytes), \(plan.strategy)")
    }
  }

  /// A training step of a network of [convolution, layer] pairs: each layer's output lives until its
  /// gradient, every convolution has weights in another layout, a scratchpad, a gradient.
  static func deepRequest(layers: Int, seed: UInt64 = 1) -> PlanRequest {
    var random = SequentialRandom(CounterRandom(seed: seed, stream: 0))
    var buffers: [PlanBuffer] = []
    var steps: [PlanStep] = []
    func add(_ bytes: Int, _ use: BufferUse) -> BufferID {
      buffers.append(PlanBuffer(name: "b\(buffers.count)", bytes: bytes, use: use))
      return BufferID(buffers.count - 1)
    }
    func step(_ reads: [BufferID], _ writes: [BufferID], over input: BufferID? = nil) {
      steps.append(
        PlanStep(
          name: "s\(steps.count)", reads: reads, writes: writes,
          sharing: input.map { [BufferSharing(output: writes[0], input: $0, .overwrite)] } ?? []))
    }
    var outputs = [add(1 << 20, .feed)]
    var sizes = [1 << 20]
    for layer in 0..<layers {
      sizes.append(layer % 50 == 49 ? sizes[layer] * 3 / 4 : sizes[layer])
      let weights = add(Int.random(in: 1...1 << 16, using: &random), .scratch)
      step([], [weights])
      let x = add(sizes[layer + 1], .activation)
      step(
        [outputs[layer], weights], [x, add(Int.random(in: 0...1 << 15, using: &random), .scratch)])
      let z = add(sizes[layer + 1], .activation)
      step([x], [z, add(256, .activation)], over: x)
      outputs.append(z)
    }
    var gradient = add(sizes[layers], .gradient)
    step([outputs[layers]], [gradient], over: outputs[layers])
    for layer in (0..<layers).reversed() {
      let dx = add(sizes[layer + 1], .gradient)
      step([outputs[layer + 1], gradient], [dx], over: gradient)
      let weights = add(Int.random(in: 1...1 << 16, using: &random), .gradient)
      step([outputs[layer], dx], [weights, add(1 << 15, .scratch)])
      step([weights], [])
      gradient = add(sizes[layer], .gradient)
      step([dx, weights], [gradient, add(Int.random(in: 0...1 << 15, using: &random), .scratch)])
    }
    return PlanRequest(buffers: buffers, steps: steps)
  }

  /// A thousand layers are planned at the bound, within the comparisons of the strategies and of the search
  /// after them. Placing is quadratic in the number of blocks: twice the layers, four times as many, or
  /// six with the search.
  @Test func deepNetworksAreQuick() {
    func plan(_ layers: Int) -> MemoryPlan { MemoryPlan(Self.deepRequest(layers: layers)) }
    let (half, whole) = (plan(500), plan(1000))
    #expect(Double(whole.arenaBytes) <= 1.01 * Double(whole.lowerBoundBytes))
    #expect(whole.looked < 2 * Placement.mostComparisons, "\(whole.looked)")
    #expect(whole.looked < 7 * half.looked, "\(whole.looked), half as many \(half.looked)")
  }

  /// Sweeps along the steps look at some holes for each block: what they take is n log n. Strategies that
  /// are quadratic are tried within a fixed number of comparisons, which large requests leave out.
  @Test func placingIsNearLinear() {
    func blocks(_ count: Int) -> [Block] {
      var random = SequentialRandom(CounterRandom(seed: 5, stream: UInt64(count)))
      // Half of them live from the forward to the backward pass, as in training.
      return (0..<count).map { index in
        let last =
          index % 2 == 0 ? 2 * count - index : index + Int.random(in: 0...3, using: &random)
        return Block(bytes: 64 * Int.random(in: 1...64, using: &random), life: index...last)
      }
    }
    var looked: [Int] = []
    for count in [2000, 4000] {
      let blocks = blocks(count)
      for (strategy, sweep) in zip(
        PlacementStrategy.all.suffix(2), [PlacementStrategy.Sweep.forward, .backward])
      {
        let (fast, slow) = (Placer(blocks), Placer(blocks))
        let order = strategy.order(blocks)
        let (swept, placed) = (fast.sweep(order, sweep), slow.place(order))
        #expect(swept.offsets == placed.offsets && swept.bytes == placed.bytes, "\(strategy.name)")
        looked.append(fast.looked)
      }
    }
    for way in 0..<2 { #expect(looked[way + 2] <= 2 * looked[way] * 13 / 10, "\(looked)") }
    // 30,000 blocks: 450 million comparisons for each quadratic strategy, none of which is tried.
    let deep = blocks(30_000)
    #expect(Placement.best(deep, bound: 0).looked < 30_000 * 200)
  }

  @Test func sweepsAreThePlacementsOfTheirOrders() {
    for seed in 0..<100 {
      let plan = MemoryPlan(Self.randomRequest(seed: UInt64(seed), steps: 60))
      let blocks = plan.blocks.map { Block(bytes: $0.bytes, life: $0.life) }
      for strategy in PlacementStrategy.all {
        guard let sweep = strategy.sweep else { continue }
        let order = strategy.order(blocks)
        let (swept, placed) = (Placer(blocks).sweep(order, sweep), Placer(blocks).place(order))
        #expect(swept.offsets == placed.offsets, "seed \(seed), \(strategy.name)")
      }
    }
  }

  /// The same request has the same plan, whoever asks and how often.
  @Test func plansAreTheSameEveryTime() async {
    let requests = (1...8).map { Self.deepRequest(layers: 40 * $0, seed: UInt64($0)) }
    let plans = requests.map { MemoryPlan($0) }
    await withTaskGroup(of: [MemoryPlan].self) { group in
      for _ in 0..<4 { group.addTask { requests.map { MemoryPlan($0) } } }
      for await again in group {
        for (a, b) in zip(plans, again) {
          #expect(a.offsets == b.offsets && a.arenaBytes == b.arenaBytes)
          #expect(a.strategy == b.strategy && a.looked == b.looked)
          #expect(a.peakBuffers == b.peakBuffers && a.peakStep == b.peakStep)
        }
      }
    }
  }

  /// A request that names what is not there has no plan, and says why.
  @Test func faultsAreNamed() {
    let buffer = PlanBuffer(name: "a", bytes: 64, use: .activation)
    func plan(_ bytes: Int, _ id: Int) -> MemoryPlan {
      MemoryPlan(
        PlanRequest(
          buffers: [PlanBuffer(name: "a", bytes: bytes, use: .activation), buffer],
          steps: [PlanStep(name: "s", reads: [BufferID(id)], writes: [BufferID(1)])]))
    }
    #expect(plan(64, 0).fault == nil)
    for faulty in [plan(-1, 0), plan(64, 2), plan(64, -1), plan(64, .max)] {
      #expect(faulty.fault != nil && faulty.arenaBytes == .max && faulty.blocks.isEmpty)
      #expect(faulty.offsets == [nil, nil])
    }
    #expect(plan(64, 7).fault == "step \"s\" with buffer number 7 of 2")
  }

  @Test func refusalsSayWhy() {
    let buffers = [
      PlanBuffer(name: "x", bytes: 64, use: .feed),
      PlanBuffer(name: "y", bytes: 64, use: .activation),
      PlanBuffer(name: "z", bytes: 64, use: .activation, isFetched: true),
    ]
    let ids = (0..<3).map(BufferID.init)
    let request = PlanRequest(
      buffers: buffers,
      steps: [
        PlanStep(
          name: "first", reads: [ids[0]], writes: [ids[1]],
          sharing: [BufferSharing(output: ids[1], input: ids[0], .overwrite)]),
        PlanStep(
          name: "second", reads: [ids[0], ids[1]], writes: [ids[2]],
          sharing: [BufferSharing(output: ids[2], input: ids[1], .overwrite)]),
      ])
    let plan = MemoryPlan(request)
    #expect(plan.decisions[0].refusal == .readLater("x", reader: "second"))
    #expect(plan.decisions[1].refusal == nil)
    #expect(plan.offsets[1] == plan.offsets[2])
    #expect(plan.arenaBytes == 128)
  }

  /// No two blocks that are alive together overlap, guarded or not, and guarded ones leave room.
  @Test(arguments: 1...100) func liveBlocksDoNotOverlap(_ seed: UInt64) {
    let request = Self.randomRequest(seed: seed, steps: 60)
    for mode in [PlanningMode.compact, .guarded, .separate] {
      let plan = MemoryPlan(request, mode: mode)
      for (index, a) in plan.blocks.enumerated() {
        #expect(a.offset + a.bytes <= plan.arenaBytes)
        #expect(mode != .guarded || a.bytes > a.usedBytes)
        for b in plan.blocks[(index + 1)...] where a.life.overlaps(b.life) {
          #expect(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset)
        }
      }
    }
  }
}
