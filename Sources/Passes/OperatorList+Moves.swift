import ABNGraph

extension OperatorList {
  /// Moves operators of before `position` to it, together with all that must stay behind them:
  /// what reads their results, and what updates a persistable that they look at.
  ///
  /// Returns where the part that was moved begins now; nil (and nothing is changed) where one of
  /// `fixed` would have to move.
  mutating func delay(_ chosen: Set<Place>, to position: Place, fixed: Set<Place>) -> Place? {
    var moved = chosen.filter { precedes($0, position) }
    var waiting = Array(moved)
    while let mover = waiting.popLast() {
      if fixed.contains(mover) { return nil }
      let op = self[mover]
      var behind: [Place] = []
      for id in op.outputs { behind += readersOf(id).keys }
      for id in op.inputs + op.outputs where program[id].isPersistable {
        behind += writersOf(id)
      }
      for other in behind where precedes(mover, other) && precedes(other, position) {
        if moved.insert(other).inserted { waiting.append(other) }
      }
    }
    let part = sorted(moved)
    for place in part { unlink(place) }
    link(part, before: position)
    return part.first ?? position
  }

  /// Moves an operator of after `position` to it, together with all that it needs of what lies
  /// between.
  ///
  /// Returns how many moved; nil (and nothing is changed) where it needs `position` itself, or
  /// would pass an operator that looks at state which it updates.
  mutating func advance(_ place: Place, to position: Place) -> Int? {
    var moved: Set<Place> = [place]
    var waiting = [place]
    while let mover = waiting.popLast() {
      for id in self[mover].inputs {
        for writer in writersOf(id)
        where precedes(writer, mover) && !precedes(writer, position) {
          if writer == position { return nil }
          if moved.insert(writer).inserted { waiting.append(writer) }
        }
      }
    }
    for mover in moved {
      for id in self[mover].outputs where program[id].isPersistable {
        let touching = Array(readersOf(id).keys) + writersOf(id)
        if touching.contains(where: {
          !moved.contains($0) && !precedes($0, position) && precedes($0, mover)
        }) {
          return nil
        }
      }
    }
    let part = sorted(moved)
    for place in part { unlink(place) }
    link(part, before: position)
    return part.count
  }
}
