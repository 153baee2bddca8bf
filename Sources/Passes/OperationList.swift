import ABNGraph

/// The operations of a program as a list that a pass edits, and the questions passes ask about it.
struct OperationList {
  var program: Program
  var operations: [Operation] {
    didSet { tables = Tables() }
  }
  let fetches: Set<VariableID>
  /// Which variables stand for the same bytes, joined by views.
  private var views: [VariableID: Set<VariableID>] = [:]
  private var tables = Tables()

  /// Who reads and who makes a variable: filled when asked for, thrown away with every edit.
  ///
  /// Arrays by the variable's number, because a pass over a deep network fills them for every layer.
  private final class Tables {
    /// The readers of variable v are `readers[first[v]..<first[v + 1]]`.
    var first: [Int] = []
    var readers: [Int] = []
    /// -1 for a variable that nothing makes.
    var makers: [Int] = []
  }

  init(_ program: Program, fetches: Set<VariableID>) {
    self.program = program
    operations = program.operations
    self.fetches = fetches
    for operation in operations {
      for rule in operation.kind.sharing where rule.strength == .view {
        let (a, b) = (operation.inputs[rule.input], operation.outputs[rule.output])
        let joined = views[a, default: [a]].union(views[b, default: [b]])
        for id in joined { views[id] = joined }
      }
    }
  }

  /// The program with the operations as they are now.
  func finish(changed: Bool) -> Program {
    changed ? program.with(operations: operations) : program
  }

  /// The variable and those that are views of it, or it of them.
  func aliases(of id: VariableID) -> Set<VariableID> { views[id] ?? [id] }

  func isFetched(_ id: VariableID) -> Bool { !aliases(of: id).isDisjoint(with: fetches) }

  /// The operations that look at a variable's value, in order.
  func readers(of id: VariableID) -> [Int] {
    if tables.first.isEmpty { fillReaders() }
    // A variable that was made since is read by nobody yet.
    guard id.index + 1 < tables.first.count else { return [] }
    return Array(tables.readers[tables.first[id.index]..<tables.first[id.index + 1]])
  }

  func readers(of ids: Set<VariableID>) -> [Int] {
    if ids.count == 1 { return readers(of: ids.first!) }
    return Set(ids.flatMap { readers(of: $0) }).sorted()
  }

  private func fillReaders() {
    var pairs: [(variable: Int, reader: Int)] = []
    var first = [Int](repeating: 0, count: program.variables.count + 1)
    for index in operations.indices {
      let typeOnly = operations[index].kind.readsTypeOnly
      let inputs = operations[index].inputs
      for (position, id) in inputs.enumerated()
      where !typeOnly.contains(position)
        && !inputs[..<position].indices.contains(where: {
          inputs[$0] == id && !typeOnly.contains($0)
        })
      {
        pairs.append((id.index, index))
        first[id.index + 1] += 1
      }
    }
    for variable in 1..<first.count { first[variable] += first[variable - 1] }
    var next = first
    var readers = [Int](repeating: 0, count: pairs.count)
    for pair in pairs {
      readers[next[pair.variable]] = pair.reader
      next[pair.variable] += 1
    }
    tables.first = first
    tables.readers = readers
  }

  /// Whether an operation is content with a restored value of `id` wherever it reads it.
  func tolerates(_ index: Int, _ id: VariableID) -> Bool {
    let operation = operations[index]
    return operation.inputs.enumerated().allSatisfy {
      $0.element != id || operation.kind.toleratesRestored.contains($0.offset)
        || operation.kind.readsTypeOnly.contains($0.offset)
    }
  }

  /// Where a temporary is made.
  func maker(of id: VariableID) -> Int? {
    if tables.makers.isEmpty {
      let isPersistable = program.variables.map(\.isPersistable)
      var makers = [Int](repeating: -1, count: isPersistable.count)
      for index in operations.indices {
        for output in operations[index].outputs where !isPersistable[output.index] {
          makers[output.index] = index
        }
      }
      tables.makers = makers
    }
    guard id.index < tables.makers.count, tables.makers[id.index] >= 0 else { return nil }
    return tables.makers[id.index]
  }

  /// Has operation `index` read `new` wherever it read `old`, but where it looks at the type only.
  mutating func replace(_ old: VariableID, by new: VariableID, in index: Int) {
    for (position, id) in operations[index].inputs.enumerated()
    where id == old && !operations[index].kind.readsTypeOnly.contains(position) {
      operations[index].inputs[position] = new
    }
  }

  /// "conv2d_weight_grad "conv2d_3"", for reasons.
  func describe(_ index: Int) -> String {
    "\(operations[index].kindName) \"\(operations[index].layer)\""
  }

  /// Whether running `b` before `a`, which came first, would change what either sees.
  private func conflict(_ a: Operation, _ b: Operation) -> Bool {
    if b.inputs.contains(where: a.outputs.contains) { return true }
    // Persistables are updated: their readers must not pass their writers.
    return b.outputs.contains { program[$0].isPersistable && (a.inputs + a.outputs).contains($0) }
  }

  /// Moves operations of before `position` to it, together with all that must stay behind them.
  ///
  /// Returns where the part that was moved begins now; nil (and nothing is changed) where one of
  /// `fixed` would have to move.
  mutating func delay(_ chosen: Set<Int>, to position: Int, fixed: Set<Int>) -> Int? {
    guard let first = chosen.min(), first < position else { return position }
    var moved: [Int] = []
    for index in first..<position {
      if chosen.contains(index)
        || moved.contains(where: { conflict(operations[$0], operations[index]) })
      {
        if fixed.contains(index) { return nil }
        moved.append(index)
      }
    }
    let gone = Set(moved)
    let before = operations[..<position].indices.filter { !gone.contains($0) }
    operations =
      before.map { operations[$0] } + moved.map { operations[$0] } + operations[position...]
    return before.count
  }

  /// Moves an operation of after `position` to it, together with all of forward role that it needs.
  ///
  /// Returns how many moved; nil (and nothing is changed) where it needs `position` itself, or would
  /// pass an operation that looks at state which it updates.
  mutating func advance(_ index: Int, to position: Int) -> Int? {
    var moved: [Int] = [index]
    var stays: [Int] = []
    for other in (position..<index).reversed() {
      let isNeeded = moved.contains { mover in
        operations[mover].inputs.contains(where: operations[other].outputs.contains)
      }
      if isNeeded {
        if other == position { return nil }
        moved.append(other)
      } else {
        stays.append(other)
      }
    }
    for mover in moved {
      for other in stays where other < mover && conflict(operations[other], operations[mover]) {
        return nil
      }
    }
    moved.reverse()
    stays.reverse()
    operations =
      operations[..<position] + moved.map { operations[$0] } + stays.map { operations[$0] }
      + operations[(index + 1)...]
    return moved.count
  }
}
