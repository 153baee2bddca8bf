import ABNKernelsBaseline

extension Engine {
  /// Whether the forward pass keeps single elements aside: of an activation that saturates, where the way back may
  /// need them. Lists have numbers of 32 bits.
  static func keepsAside(_ kernel: ABNKernel) -> Bool {
    guard case .elu = kernel.activation, kernel.activation.isInvertible else { return false }
    return kernel.geometry.countPerChannel > 0 && kernel.geometry.countPerChannel <= 1 << 32
  }

  /// What the elements kept aside add to the sums of a channel when they are taken from x instead of from z: of
  /// dy, and of dy * (y - bias).
  func asideSums(_ call: BackwardCall, _ channel: Int) -> (dy: Double, product: Double) {
    var result = (dy: 0.0, product: 0.0)
    guard let aside else { return result }
    let values = values(channel)
    StackBlock.with(isUniform: true) { block, sums in
      setAlone(block, values)
      func total(_ step: Int, _ a: UnsafeRawPointer, _ dz: UnsafeMutableRawPointer, _ count: Int)
        -> (dy: Double, product: Double)
      {
        clearSums(sums, 16)
        self.call(step, a, dz, dz, block, sums, count)
        let alone = LaneGroup.alone(0)
        return (alone.total(sums, 0), alone.total(sums + 128, 0))
      }
      eachAside(call, channel) { place, z, dz, count in
        let known = total(Step.reduceInput, aside.x + place * bytes, dz, count)
        let told = total(Step.reduce, z, dz, count)
        result.dy += known.dy - told.dy
        // x - mean, which is taken times the unit, times gain is y - bias.
        result.product += known.product * relative(values.gain, values.unit) - told.product
      }
    }
    return result
  }

  /// dx of a channel's elements kept aside, from x, to their list: before dx goes over dz.
  func applyAside(_ call: BackwardCall, _ channel: Int, _ values: ChannelValues) {
    guard let aside else { return }
    StackBlock.with(isUniform: true) { block, _ in
      setAlone(block, values)
      eachAside(call, channel) { place, _, dz, count in
        self.call(
          Step.applyInput, aside.x + place * bytes, dz, aside.dx + place * bytes, block, block,
          count)
      }
    }
  }

  /// Puts the lists' elements in their places: x or dx.
  func giveAside(
    _ list: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ parallel: KernelTeam
  ) {
    guard let aside else { return }
    let geometry = kernel.geometry
    parallel(channels) { channel in
      for place in aside.range(channel) {
        let offset = geometry.offset(channel, Int(aside.indices[place]))
        (target + offset * bytes).copyMemory(from: list + place * bytes, byteCount: bytes)
      }
    }
  }

  /// Hands z and dz of a channel's elements kept aside to `body`, side by side on the stack, some at a time.
  private func eachAside(
    _ call: BackwardCall, _ channel: Int,
    _ body: (
      _ place: Int, _ z: UnsafeMutableRawPointer, _ dz: UnsafeMutableRawPointer, _ count: Int
    ) -> Void
  ) {
    guard let aside else { return }
    let range = aside.range(channel)
    var memory = (StackElements(), StackElements())
    memory.0.withPointer { z in
      memory.1.withPointer { dz in
        for start in stride(
          from: range.lowerBound, to: range.upperBound, by: StackElements.capacity)
        {
          let count = min(StackElements.capacity, range.upperBound - start)
          for number in 0..<count {
            let at =
              kernel.geometry.offset(channel, Int(aside.indices[start + number])) * bytes
            (z + number * bytes).copyMemory(from: call.kept + at, byteCount: bytes)
            (dz + number * bytes).copyMemory(from: call.gradient + at, byteCount: bytes)
          }
          body(start, z, dz, count)
        }
      }
    }
  }
}
