/// What is done with a layer's tensors: a first pass over them that takes sums, what follows from
/// the sums of each channel, and a second pass that maps every element. A pass may lack either.
///
/// The functions are called for each unit in this order: `begin`, `first` of all slices, `total`,
/// `finish`, `settle`, `second` of all slices; for different units, slices and channels at the same
/// time. Without sums there is no `first` and no `total`, without a map no `second`.
protocol LayerPass: Sendable {
  var engine: Engine { get }
  /// Room for all units.
  var room: Room { get }
  /// Whether there are sums, and a map.
  var hasSums: Bool { get }
  var hasMap: Bool { get }
  /// Tensors of a unit that are to be in a cache for its second pass.
  var tensors: Int { get }
  /// Whether the first pass prefetches for the next unit too; else its own tensors leave no room
  /// for it.
  var prefetchesFirst: Bool { get }

  /// Writes the parameters of channels that are known before their sums.
  func begin(_ slots: ChannelSlots)
  /// What hangs on all channels of a unit before its sums.
  func prepare(_ unit: Int, _ room: Room)
  /// Takes the sums over a window.
  func first(_ window: Window, _ room: Room)
  /// Adds up the sums of channels of a unit, by their numbers in it: a multiple of 16, and as many
  /// as there are.
  func total(_ unit: Int, _ numbers: Range<Int>, _ room: Room)
  /// What follows from the sums of channels.
  func finish(_ slots: ChannelSlots)
  /// What hangs on all channels of a unit after its sums.
  func settle(_ unit: Int, _ room: Room)
  /// Maps the elements of a window.
  func second(_ window: Window, _ room: Room)
}

extension LayerPass {
  func prepare(_ unit: Int, _ room: Room) {}
  func settle(_ unit: Int, _ room: Room) {}

  /// Both passes over all units. The results are the same bits whatever the team, as the windows
  /// are.
  ///
  /// Where the two passes over a unit find it in one core's cache, or a shared one from which the
  /// second reads nearly as fast, a unit is one part of the work. Units that only the caches of
  /// several cores hold are worked on by the whole team, a share each that stays in its own cache
  /// until the second pass. All others are gone over twice.
  func run(_ team: KernelTeam) {
    let plan = engine.plan
    if plan.units == 0 { return }
    if plan.isOnStack {
      let nextUnit = engine.nextUnit(tensors: tensors, parts: team.count, step: plan.unitsPerPart)
      team.run(plan.parts) { part in
        let units = plan.units(ofPart: part)
        let step = Room.unitsOnStack(plan)
        for first in stride(from: units.lowerBound, to: units.upperBound, by: step) {
          Room.onStack(plan, isDouble: engine.isDouble, first: first) { room in
            inCache(first..<min(first + step, units.upperBound), room, nextUnit)
          }
        }
      }
      return
    }
    guard plan.isPhased, hasSums, hasMap else {
      inShares(team, unitsAtOnce: plan.units)
      return
    }
    let threads = min(team.count, plan.units * plan.slices)
    let nextUnit = engine.nextUnit(tensors: tensors, parts: threads, step: 1)
    if threads <= 1 || nextUnit != 0
      || tensors * plan.unitElements * engine.bytes <= engine.kernel.caches.coreBytes
    {
      team.run(plan.units) { unit in inCache(unit..<unit + 1, room, nextUnit) }
      return
    }
    // As few units as give every thread the same number of slices.
    var units = 1
    while units * plan.slices % threads != 0 { units += 1 }
    inShares(team, unitsAtOnce: units)
  }

  /// Both passes over units that are in one core's cache. Small ones go through each step together:
  /// the steps of one wait for one another, those of several do not. `nextUnit`: elements to the
  /// unit that this thread is to read next.
  private func inCache(_ units: Range<Int>, _ room: Room, _ nextUnit: Int) {
    let plan = engine.plan
    begin(units, room)
    if hasSums {
      for unit in units {
        let next = prefetchesFirst && unit &+ plan.unitsPerPart < plan.units ? nextUnit : 0
        for slice in 0..<plan.slices {
          first(Window(unit: unit, slice: slice, nextUnit: next), room)
        }
        total(unit, 0..<plan.channels(unit).count, room)
      }
    }
    finish(room.slots(units))
    for unit in units { settle(unit, room) }
    if !hasMap { return }
    for unit in units {
      let next = unit &+ plan.unitsPerPart < plan.units ? nextUnit : 0
      for slice in 1...plan.slices {
        second(Window(unit: unit, slice: plan.slices &- slice, nextUnit: next), room)
      }
    }
  }

  /// The passes over `units` units at a time, of which every thread has a share of slices, and goes
  /// back over it from its last slice to its first. What a thread does between two barriers is the
  /// second pass over its share and the first over that of the next units.
  private func inShares(_ team: KernelTeam, unitsAtOnce units: Int) {
    let plan = engine.plan
    let threads = max(1, min(team.count, plan.units * plan.slices))
    let nextUnit = units < plan.units ? engine.nextUnit(tensors: tensors, parts: 1, step: units) : 0
    /// Calls `body` for a thread's slices of the units from `start` on.
    @Sendable func forShare(
      _ start: Int, _ thread: Int, isReversed: Bool, _ body: (Window, Room) -> Void
    ) {
      let own = share(thread, of: threads, in: min(units, plan.units - start) * plan.slices)
      for index in 0..<own.count {
        let at = isReversed ? own.upperBound - 1 - index : own.lowerBound + index
        // Only of as many units is this thread's share the same part.
        let isFull = start + 2 * units <= plan.units
        let window = Window(
          unit: start + at / plan.slices, slice: at % plan.slices,
          nextUnit: isFull && (isReversed || prefetchesFirst) ? nextUnit : 0)
        body(window, room)
      }
    }
    begin(0..<plan.units, room)
    if !hasSums { finish(0..<plan.units, team) }
    var start = hasSums ? 0 : units
    while start < plan.units + (hasMap ? units : 0) {
      let now = start
      team.run(threads) { thread in
        if now > 0 && hasMap { forShare(now - units, thread, isReversed: true, second) }
        if now < plan.units && hasSums { forShare(now, thread, isReversed: false, first) }
      }
      if hasSums { finish(start..<max(start, min(start + units, plan.units)), team) }
      start += units
    }
  }

  private func begin(_ units: Range<Int>, _ room: Room) {
    let plan = engine.plan
    if plan.isUniform {
      begin(room.slots(units))
    } else {
      for unit in units {
        let slots = room.slots(unit..<unit + 1)
        if slots.channels.count * plan.copies % 16 != 0 { room.clear(unit) }
        begin(slots)
      }
    }
    for unit in units { prepare(unit, room) }
  }

  /// What follows from the sums of units, in parallel where that is worth a barrier.
  private func finish(_ units: Range<Int>, _ team: KernelTeam) {
    let plan = engine.plan
    // Of rows as many channels go together, of others a unit.
    let together = plan.isRows ? 256 : plan.width
    let partsPerUnit = (plan.width + together - 1) / together
    let parts = units.count * partsPerUnit
    let atOnce = plan.isPhased ? max(1, parts) : 1
    team.run((parts + atOnce - 1) / atOnce) { part in
      for index in part * atOnce..<min((part + 1) * atOnce, parts) {
        let unit = units.lowerBound + index / partsPerUnit
        let slots = room.slots(unit..<unit + 1)
        let first = index % partsPerUnit * together
        let numbers = first..<min(first + together, slots.channels.count)
        if hasSums { total(unit, numbers, room) }
        finish(slots.some(numbers))
      }
    }
    for unit in units { settle(unit, room) }
  }
}

extension Engine {
  /// Elements from a unit to the one `step` units on, which its thread is to read next, if asking
  /// for that beside the passes over this one brings it nearer (in the second the memory has
  /// nothing else to do); else 0. `parts`: how many parts of `step` units are worked on at the same
  /// time, of `tensors` tensors.
  func nextUnit(tensors: Int, parts: Int, step: Int) -> Int {
    let atOnce = min(max(1, min(parts, plan.units)) * step, plan.units)
    let next = tensors * atOnce * plan.unitElements * bytes
    return kernel.caches.hold(next: next, of: kernel.bufferBytes) ? step * plan.unitStride : 0
  }
}
