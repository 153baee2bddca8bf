import ABNKernelsBaseline
import CKernels

extension Engine {
  func restore(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ workspace: ABNWorkspace
  ) {
    elementwise(
      Step.restore, appliedCode, source, destination, workspace.scratch, workspace.team)
    if let aside { giveAside(aside.x, destination, workspace.team) }
  }

  func activate(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ workspace: ABNWorkspace
  ) {
    if kernel.activation == .prelu {
      elementwise(Step.activate, code, source, destination, workspace.scratch, workspace.team)
    } else {
      activateFlat(source, destination, workspace.team)
    }
  }

  /// An elementwise step over the whole tensor; rescued channels get their x first and keep it.
  func elementwise(
    _ step: Int, _ code: Int, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer,
    _ memory: UnsafeMutableRawPointer, _ parallel: KernelTeam
  ) {
    switch schedule.form {
    case .runs(let runs):
      parallel(runs.units * schedule.slices) { part in
        withSlice(runs, part) { unit, group, extent, block, sums in
          for channel in 0..<group.channels {
            rows(block, of: group).set(group, 0, channel, restoring(group.first + channel))
            if let row = rescueRow(group.first + channel) {
              stretches(runs, unit, channel, extent) { give(row, destination, $0) }
            }
          }
          prepare(block, group.parameterLanes)
          callRuns(step, code, runs, unit, extent, source, source, destination, block, sums)
        }
      }
    case .rows(let count):
      let scratch = Scratch(memory, kernel, schedule)
      let rows = rows(scratch.block, schedule.lanes)
      clear(scratch.block, schedule.lanes)
      for channel in 0..<channels {
        let group = group(row: channel / 16 * 16)
        rows.set(group, group.first, channel % 16, restoring(channel))
      }
      prepare(scratch.block, schedule.lanes)
      parallel(schedule.slices) { slice in
        let range = schedule.rowRange(slice, count)
        for channel in 0..<channels {
          if let row = rescueRow(channel) { give(row, destination, stretch(channel, range)) }
        }
        callRows(
          step, code, range, source, source, destination, scratch.block, scratch.state(slice),
          scratch.sums(slice))
      }
    }
    zeroPadding(destination)
  }

  /// z = act(y) with one slope: the layout does not matter.
  func activateFlat(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ parallel: KernelTeam
  ) {
    let elements = kernel.geometry.elementCount
    let parts = (elements + Schedule.partElements - 1) / Schedule.partElements
    let isFar = kernel.caches.areFar(runs: Schedule.partElements * bytes, of: kernel.bufferBytes)
    parallel(parts) { part in
      StackBlock.with(isUniform: true) { block, sums in
        var values = ChannelValues()
        values.slope = kernel.slope(parameters, 0)
        setAlone(block, values)
        let first = part * Schedule.partElements
        let start = first * bytes
        var call = abn_kernel_call(self, Step.activate, code, block: block, sums: sums)
        call.take(source + start, source + start, destination + start)
        call.is_far = isFar
        call.length = min(Schedule.partElements, elements - first)
        run(call)
      }
    }
    zeroPadding(destination)
  }
}
