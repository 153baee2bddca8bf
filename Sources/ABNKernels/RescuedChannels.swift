import ABNKernelsBaseline

/// A stretch of one channel: `count` elements from `tensor` on, `step` apart, which stand at
/// `rescue` and after in the channel's row of the rescue.
struct Stretch {
  var rescue: Int
  var tensor: Int
  var step: Int
  var count: Int
}

extension Engine {
  /// The row of a rescued channel, or nil.
  @inline(__always) func rescueRow(_ channel: Int) -> UnsafeMutableRawPointer? {
    rescue?.rows[channel]
  }

  /// Whether all of a unit is one rescued channel.
  @inline(__always) func isRescuedWhole(_ unit: Int) -> Bool {
    hasRescued && plan.isUniform && rescueRow(unit) != nil
  }

  /// Calls `body` with the row of each rescued channel of a window's unit and with its stretches.
  func forRescued(_ window: Window, _ body: (UnsafeMutableRawPointer, Stretch) -> Void) {
    for channel in plan.channels(window.unit) {
      guard let row = rescueRow(channel) else { continue }
      stretches(window, channel) { body(row, $0) }
    }
  }

  /// The stretches of a channel in a window: one for each run, or one through all rows.
  func stretches(_ window: Window, _ channel: Int, _ body: (Stretch) -> Void) {
    let extent = plan.extent(window.slice)
    if plan.isRows {
      let first = extent.runs.lowerBound
      body(
        Stretch(
          rescue: first, tensor: first * plan.stride + channel, step: plan.stride,
          count: extent.runs.count))
      return
    }
    let local = channel - window.unit * plan.width
    let first = extent.elements.lowerBound
    for run in extent.runs {
      body(
        Stretch(
          rescue: (run * plan.length + first) / plan.width,
          tensor: window.unit * plan.unitStride + run * plan.stride + first + local,
          step: plan.width, count: extent.elements.count / plan.width))
    }
  }

  /// Copies a stretch of x to the rescue row.
  func keep(_ source: UnsafeRawPointer, _ row: UnsafeMutableRawPointer, _ stretch: Stretch) {
    copy(
      source + stretch.tensor * bytes, step: stretch.step, to: row + stretch.rescue * bytes,
      step: 1, stretch.count)
  }

  /// Copies a stretch of the rescue row to x.
  func give(_ row: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ stretch: Stretch) {
    copy(
      row + stretch.rescue * bytes, step: 1, to: target + stretch.tensor * bytes,
      step: stretch.step, stretch.count)
  }

  /// Copies `count` elements that stand `from` apart to places that are `step` apart.
  func copy(
    _ source: UnsafeRawPointer, step from: Int, to target: UnsafeMutableRawPointer, step: Int,
    _ count: Int
  ) {
    func copy<T: BitwiseCopyable>(_ type: T.Type) {
      let source = source.assumingMemoryBound(to: T.self)
      let target = target.assumingMemoryBound(to: T.self)
      var index = 0
      while index < count {
        target[index &* step] = source[index &* from]
        index &+= 1
      }
    }
    if from == 1 && step == 1 {
      target.copyMemory(from: source, byteCount: count * bytes)
      return
    }
    switch bytes {
    case 2: copy(UInt16.self)
    case 4: copy(UInt32.self)
    default: copy(UInt64.self)
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

/// A few elements side by side, on the stack.
struct StackElements {
  private var values =
    (SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>())
  static let capacity = 256

  mutating func withPointer(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafeMutableBytes(of: &values) { buffer in
      if let base = buffer.baseAddress { body(base) }
    }
  }
}

extension BackwardPass {
  /// The sums of a window's rescued channels, from their kept x, in place of those that are there.
  @inline(never) func reduceRescued(_ window: Window, _ room: Room) {
    let sums = room.sums(window.unit, window.slice)
    for channel in engine.plan.channels(window.unit) {
      guard let row = engine.rescueRow(channel) else { continue }
      engine.alone(engine.values(channel)) { own in
        engine.stretches(window, channel) { stretch in
          inPieces(stretch) { piece, dz in
            let x = row + piece.rescue * engine.bytes
            engine.go(
              KernelStep(Step.reduceInput, engine.code, x, dz), piece.count, own)
          }
        }
        if engine.plan.isUniform {
          sums.copyMemory(from: own.allSums, byteCount: 3 * 16 * 8)
          return
        }
        let lane = channel - window.unit * engine.plan.width
        for row in 0..<3 {
          let lanes = (sums + row * engine.plan.lanes * 8).assumingMemoryBound(to: Double.self)
          lanes[lane] = Engine.total(own.allSums + row * 128)
          if engine.plan.copies == 2 { lanes[lane + 8] = 0 }
        }
      }
    }
  }

  /// dx of a window's rescued channels, from their kept x.
  @inline(never) func applyRescued(_ window: Window) {
    for channel in engine.plan.channels(window.unit) {
      guard let row = engine.rescueRow(channel) else { continue }
      engine.alone(valuesFromInput(channel)) { own in
        engine.stretches(window, channel) { stretch in
          inPieces(stretch) { piece, dz in
            let dx = call.destination + piece.tensor * engine.bytes
            // Elements that were copied come out over the copies.
            let out = piece.step == 1 ? dx : dz
            let x = row + piece.rescue * engine.bytes
            engine.go(
              KernelStep(Step.applyInput, engine.code, x, dz, to: out), piece.count, own)
            if piece.step == 1 { return }
            engine.copy(dz, step: 1, to: dx, step: piece.step, piece.count)
          }
        }
      }
    }
  }

  /// Hands dz of a stretch to `body` side by side: in place where it is already, else copied to the
  /// stack, some at a time.
  private func inPieces(_ stretch: Stretch, _ body: (Stretch, UnsafeMutableRawPointer) -> Void) {
    let bytes = engine.bytes
    if stretch.step == 1 {
      let dz = call.gradient + stretch.tensor * bytes
      return body(stretch, UnsafeMutableRawPointer(mutating: dz))
    }
    var memory = StackElements()
    memory.withPointer { values in
      var piece = stretch
      for done in stride(from: 0, to: stretch.count, by: StackElements.capacity) {
        piece.rescue = stretch.rescue + done
        piece.tensor = stretch.tensor + done * stretch.step
        piece.count = min(StackElements.capacity, stretch.count - done)
        let from = call.gradient + piece.tensor * bytes
        engine.copy(from, step: piece.step, to: values, step: 1, piece.count)
        body(piece, values)
      }
    }
  }
}
