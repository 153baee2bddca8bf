import ABNKernelsBaseline
import CKernels

/// A map alone, whose parameters are known: x from z, or z from y.
struct MapPass: LayerPass, @unchecked Sendable {
  // Sendable: as `Engine`.

  let engine: Engine
  private let call: abn_kernel_call
  private let out: UnsafeMutableRawPointer
  let room: Room

  init(_ engine: Engine, _ step: KernelStep, _ room: Room) {
    self.engine = engine
    self.room = room
    call = engine.call(step)
    out = step.out
  }

  var hasSums: Bool { false }
  var hasMap: Bool { true }
  var tensors: Int { 1 }
  var prefetchesFirst: Bool { false }

  func begin(_ slots: ChannelSlots) {
    for index in 0..<slots.channels.count {
      var values = engine.values(slots.channels.lowerBound + index)
      values.spread = 1 / values.gain
      values.unit = 1
      slots.put(index, values)
    }
  }

  func first(_ window: Window, _ room: Room) {}
  func total(_ unit: Int, _ numbers: Range<Int>, _ room: Room) {}
  func finish(_ slots: ChannelSlots) {}

  /// Rescued channels get their x first and keep it.
  func second(_ window: Window, _ room: Room) {
    if engine.hasRescued {
      engine.forRescued(window) { row, stretch in engine.give(row, out, stretch) }
    }
    engine.go(call, window, room)
  }
}

extension Engine {
  /// x from z.
  func restore(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ workspace: ABNWorkspace
  ) {
    let step = KernelStep(Step.restore, appliedCode, source, to: destination)
    MapPass(self, step, Scratch(workspace.scratch, self).room).run(workspace.team)
    if let aside { giveAside(aside.x, destination, workspace.team) }
    zeroPadding(destination)
  }

  /// z = act(y). With one slope the layout does not matter: all elements are one run.
  func activate(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ workspace: ABNWorkspace
  ) {
    var engine = self
    var room = Scratch(workspace.scratch, self).room
    if !hasSlopes {
      let plan = Plan(flat: kernel.geometry.elementCount, kernel.element)
      engine = Engine(kernel, parameters, nil, plan: plan)
      room = Room(
        plan: plan, isDouble: isDouble, blocks: workspace.scratch,
        allSums: workspace.scratch, windowBytes: 0)
      if plan.length == 0 { return }
    }
    let step = KernelStep(Step.activate, code, source, to: destination)
    MapPass(engine, step, room).run(workspace.team)
    zeroPadding(destination)
  }
}
