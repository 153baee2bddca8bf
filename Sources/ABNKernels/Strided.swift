import ABNKernelsBaseline
import CKernels

/// A stretch of one channel: `count` elements from `tensor` on, `step` apart, which stand at `rescue`
/// and after in the channel's row of the rescue buffer.
struct Stretch {
  var rescue: Int
  var tensor: Int
  var step: Int
  var count: Int
}

extension Engine {
  /// The stretches of a channel in a part of its unit.
  func stretches(
    _ runs: Schedule.Runs, _ unit: Int, _ local: Int,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ body: (Stretch) -> Void
  ) {
    let first = extent.elements.lowerBound
    for run in extent.runs {
      body(
        Stretch(
          rescue: (run * runs.length + first) / runs.width,
          tensor: unit * runs.unitStride + run * runs.stride + first + local, step: runs.width,
          count: extent.elements.count / runs.width))
    }
  }

  /// The stretch of a channel in a range of rows.
  func stretch(_ channel: Int, _ range: Range<Int>) -> Stretch {
    Stretch(
      rescue: range.lowerBound, tensor: range.lowerBound * channels + channel, step: channels,
      count: range.count)
  }

  /// The row of a rescued channel, or nil.
  @inline(__always) func rescueRow(_ channel: Int) -> UnsafeMutableRawPointer? {
    rescue?.rows[channel]
  }

  /// Copies a stretch of x to the rescue row.
  func keep(_ source: UnsafeRawPointer, _ row: UnsafeMutableRawPointer, _ stretch: Stretch) {
    copy(
      source + stretch.tensor * bytes, stretch.step, row + stretch.rescue * bytes, 1, stretch.count)
  }

  /// Copies a stretch of the rescue row to x.
  func give(_ row: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ stretch: Stretch) {
    copy(
      row + stretch.rescue * bytes, 1, target + stretch.tensor * bytes, stretch.step, stretch.count)
  }

  /// Sums of a rescued channel over a stretch, from its kept x.
  func reduceRescued(
    _ row: UnsafeRawPointer, _ gradient: UnsafeRawPointer, _ stretch: Stretch,
    _ block: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer
  ) {
    inPieces(gradient, stretch) { piece, values in
      call(Step.reduceInput, row + piece.rescue * bytes, values, values, block, sums, piece.count)
    }
  }

  /// dx of a rescued channel over a stretch.
  func applyRescued(
    _ row: UnsafeRawPointer, _ gradient: UnsafeRawPointer, _ target: UnsafeMutableRawPointer,
    _ stretch: Stretch, _ block: UnsafeMutableRawPointer
  ) {
    if stretch.step == 1 {
      call(
        Step.applyInput, row + stretch.rescue * bytes, gradient + stretch.tensor * bytes,
        target + stretch.tensor * bytes, block, block, stretch.count)
      return
    }
    inPieces(gradient, stretch) { piece, values in
      let x = row + piece.rescue * bytes
      call(Step.applyInput, x, values, values, block, block, piece.count)
      copy(values, 1, target + piece.tensor * bytes, piece.step, piece.count)
    }
  }

  /// A step on elements side by side, of one channel.
  func call(
    _ step: Int, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer,
    _ block: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer, _ count: Int
  ) {
    var call = abn_kernel_call(self, step, code, block: block, sums: sums)
    call.take(a, b, out)
    call.length = count
    run(call)
  }

  /// Hands the elements of a stretch to `body` side by side: in place where they are already, else
  /// copied to the stack.
  private func inPieces(
    _ source: UnsafeRawPointer, _ stretch: Stretch,
    _ body: (Stretch, UnsafeMutableRawPointer) -> Void
  ) {
    if stretch.step == 1 {
      body(stretch, UnsafeMutableRawPointer(mutating: source + stretch.tensor * bytes))
      return
    }
    var memory = StackElements()
    memory.withPointer { values in
      var done = 0
      while done < stretch.count {
        let now = min(StackElements.capacity, stretch.count - done)
        let piece = Stretch(
          rescue: stretch.rescue + done, tensor: stretch.tensor + done * stretch.step,
          step: stretch.step, count: now)
        copy(source + piece.tensor * bytes, piece.step, values, 1, now)
        body(piece, values)
        done += now
      }
    }
  }

  /// Copies `count` elements between two strided places.
  func copy(
    _ source: UnsafeRawPointer, _ sourceStep: Int, _ target: UnsafeMutableRawPointer,
    _ targetStep: Int, _ count: Int
  ) {
    if sourceStep == 1 && targetStep == 1 {
      target.copyMemory(from: source, byteCount: count * bytes)
      return
    }
    switch bytes {
    case 2: copy(UInt16.self, source, sourceStep, target, targetStep, count)
    case 4: copy(UInt32.self, source, sourceStep, target, targetStep, count)
    default: copy(UInt64.self, source, sourceStep, target, targetStep, count)
    }
  }

  private func copy<T: BitwiseCopyable>(
    _ type: T.Type, _ source: UnsafeRawPointer, _ sourceStep: Int,
    _ target: UnsafeMutableRawPointer, _ targetStep: Int, _ count: Int
  ) {
    let from = source.assumingMemoryBound(to: T.self)
    let to = target.assumingMemoryBound(to: T.self)
    var index = 0
    while index < count {
      to[index &* targetStep] = from[index &* sourceStep]
      index &+= 1
    }
  }

  /// Writes 0 to the padded lanes of a blocked layout.
  func zeroPadding(_ base: UnsafeMutableRawPointer) {
    guard case .blocked(let size) = kernel.geometry.layout, channels % size != 0 else { return }
    let used = channels % size
    let blocks = (channels + size - 1) / size
    let spatial = kernel.geometry.spatial
    for outer in 0..<kernel.geometry.outer {
      for position in 0..<spatial {
        let start = ((outer * blocks + blocks - 1) * spatial + position) * size
        let padding = base + (start + used) * bytes
        padding.initializeMemory(as: UInt8.self, repeating: 0, count: (size - used) * bytes)
      }
    }
  }
}
