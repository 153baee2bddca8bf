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
      if engine.saved == nil {
        // With this sign a sum with it keeps that of 0.
        (values.gain, values.shiftedBias) = (1, -0.0)
      }
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

  /// z = act(y) of prelu, whose slopes may be the channels': what training makes of an x that is
  /// xhat, with a scale of 1 and a bias of 0.
  func activateLearned(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ workspace: ABNWorkspace
  ) {
    let step = KernelStep(Step.forward, code, source, to: destination)
    MapPass(self, step, Scratch(workspace.scratch, self).room).run(workspace.team)
    zeroPadding(destination)
  }
}
