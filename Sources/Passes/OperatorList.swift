import ABNGraph
import ABNOperators

/// The operators of a program as a list that a pass edits, and the questions passes ask about it.
///
/// An operator keeps its place whatever is inserted, removed or moved beside it: a place is a
/// name, not a position; `precedes` tells which of two comes first. Answers and edits cost about as
/// much as they touch, so that a pass over a program of n operators takes some n steps, not n for
/// every edit.
struct OperatorList {
  /// Where an operator stands; 0 is the end of the list.
  typealias Place = Int

  private struct Link {
    var previous: Place
    var next: Place
    /// Grows along the list.
    var label: Int
  }

  /// Who looks at a variable.
  private struct Uses {
    /// The operators with this input, and whether they look at its value or at its type only.
    var readers: [Place: Bool] = [:]
    /// The operators with this output: one for a temporary.
    var writers: [Place] = []
    /// How many look at the value, how many of them are of the backward pass, and how many
    /// overwrite it.
    var ofValue = 0
    var backward = 0
    var overwriting = 0
  }

  /// Who looks at the variables of a class of views.
  private struct ClassUses {
    var readers = 0
    var backward = 0
    var overwriting = 0
    var isFetched = false
  }

  /// How many uses and operators were looked at: for tests of how a pass grows with its program.
  private final class Counter { var count = 0 }

  var program: Program
  let fetches: Set<VariableID>
  private var nodes: [Operator?] = [nil]
  private var links: [Link] = [Link(previous: 0, next: 0, label: .min)]
  private var uses: [Uses]
  private let views: Views
  /// The same for all variables of a class of views together, and whether one of them is fetched: a
  /// question about a class costs no more than one about a variable.
  private var classUses: [ClassUses]
  private let counter = Counter()

  init(_ program: Program, fetches: Set<VariableID>) {
    self.program = program
    self.fetches = fetches
    uses = Array(repeating: Uses(), count: program.variables.count)
    views = Views(program)
    classUses = Array(repeating: ClassUses(), count: views.count)
    for id in fetches {
      if let own = views.number(of: id) { classUses[own].isFetched = true }
    }
    let operators = program.operators
    nodes.reserveCapacity(2 * operators.count)
    links.reserveCapacity(2 * operators.count)
    insert(operators, before: 0)
  }

  /// The program with the operators as they are now, and what was decided.
  func finish(_ decisions: [PassDecision], changed: Bool) -> RewrittenProgram {
    RewrittenProgram(
      changed ? program.with(operators: places.map { self[$0] }) : program, decisions,
      looked: counter.count)
  }

  // MARK: Order

  /// All places in order.
  var places: [Place] {
    var result: [Place] = []
    var place = links[0].next
    while place != 0 {
      result.append(place)
      place = links[place].next
    }
    return result
  }

  /// The place after this one, 0 after the last; of 0 the first.
  func next(_ place: Place) -> Place { links[place].next }

  /// Whether `a` comes before `b`; everything comes before the end.
  func precedes(_ a: Place, _ b: Place) -> Bool {
    b == 0 ? a != 0 : a != 0 && links[a].label < links[b].label
  }

  /// The operator at a place.
  subscript(place: Place) -> Operator {
    get { nodes[place]! }
    set {
      forgetUses(of: place)
      nodes[place] = newValue
      noteUses(of: place)
    }
  }

  /// Inserts operators before a place, or at the end; gives the places of the new ones.
  @discardableResult
  mutating func insert(_ operators: [Operator], before place: Place) -> [Place] {
    let made = operators.map { op in
      nodes.append(op)
      links.append(Link(previous: 0, next: 0, label: 0))
      return nodes.count - 1
    }
    link(made, before: place)
    for place in made { noteUses(of: place) }
    return made
  }

  /// Takes the operator at a place out.
  mutating func remove(_ place: Place) {
    forgetUses(of: place)
    unlink(place)
    nodes[place] = nil
  }

  mutating func unlink(_ place: Place) {
    let link = links[place]
    links[link.previous].next = link.next
    links[link.next].previous = link.previous
  }

  /// Puts places into the list, in their order, before `place`.
  mutating func link(_ places: [Place], before place: Place) {
    guard !places.isEmpty else { return }
    let first = links[place].previous
    func room() -> (low: Int, step: Int) {
      let low = first == 0 ? -(1 << 61) : links[first].label
      let high = place == 0 ? 1 << 61 : links[place].label
      return (low, (high - low) / (places.count + 1))
    }
    var (low, step) = room()
    if step == 0 {
      spreadLabels()
      (low, step) = room()
    }
    var previous = first
    for (number, new) in places.enumerated() {
      links[new] = Link(previous: previous, next: place, label: low + (number + 1) * step)
      links[previous].next = new
      previous = new
    }
    links[place].previous = previous
  }

  /// Labels at even distances, after many insertions at one place.
  private mutating func spreadLabels() {
    let all = places
    let step = (1 << 62) / (all.count + 1)
    for (number, place) in all.enumerated() {
      links[place].label = -(1 << 61) + (number + 1) * step
    }
    counter.count += all.count
  }

  // MARK: Uses

  private mutating func noteUses(of place: Place) {
    let op = nodes[place]!
    counter.count += op.inputs.count + op.outputs.count
    for (id, readsValue) in valuesRead(by: op) {
      addReader(place, of: id, readsValue: readsValue)
    }
    for id in Set(op.outputs) {
      makeRoom(for: id)
      uses[id.index].writers.append(place)
    }
  }

  private mutating func forgetUses(of place: Place) {
    let op = nodes[place]!
    counter.count += op.inputs.count + op.outputs.count
    for (id, _) in valuesRead(by: op) { removeReader(place, of: id) }
    for id in Set(op.outputs) { uses[id.index].writers.removeAll { $0 == place } }
  }

  /// The inputs of an operator, and of which it looks at the value.
  private func valuesRead(by op: Operator) -> [VariableID: Bool] {
    let typeOnly = op.kind.readsTypeOnly
    var result: [VariableID: Bool] = [:]
    for (position, id) in op.inputs.enumerated() {
      result[id] = result[id] == true || !typeOnly.contains(position)
    }
    return result
  }

  private mutating func makeRoom(for id: VariableID) {
    while uses.count <= id.index { uses.append(Uses()) }
  }

  private mutating func addReader(_ place: Place, of id: VariableID, readsValue: Bool) {
    makeRoom(for: id)
    uses[id.index].readers[place] = readsValue
    if let own = views.number(of: id) { classUses[own].readers += 1 }
    if readsValue { count(place, of: id, by: 1) }
  }

  private mutating func removeReader(_ place: Place, of id: VariableID) {
    counter.count += 1
    guard let readsValue = uses[id.index].readers.removeValue(forKey: place) else { return }
    if let own = views.number(of: id) { classUses[own].readers -= 1 }
    if readsValue { count(place, of: id, by: -1) }
  }

  private mutating func count(_ place: Place, of id: VariableID, by change: Int) {
    let op = nodes[place]!
    let own = views.number(of: id)
    uses[id.index].ofValue += change
    if op.role == .backward {
      uses[id.index].backward += change
      if let own { classUses[own].backward += change }
    }
    if op.kind is InPlaceActivatedBatchNorm {
      uses[id.index].overwriting += change
      if let own { classUses[own].overwriting += change }
    }
  }

  /// Whether one operator alone looks at a variable's value.
  func hasOneReader(_ id: VariableID) -> Bool {
    id.index < uses.count && uses[id.index].ofValue == 1
  }

  /// How many operators have a variable, or a view of its bytes, among their inputs; those that
  /// ask for its type alone included.
  func readerCount(ofViews id: VariableID) -> Int {
    if let own = views.number(of: id) { return classUses[own].readers }
    return id.index < uses.count ? uses[id.index].readers.count : 0
  }

  // A variable that was made since is used by nobody yet.
  func readersOf(_ id: VariableID) -> [Place: Bool] {
    guard id.index < uses.count else { return [:] }
    counter.count += uses[id.index].readers.count
    return uses[id.index].readers
  }

  func writersOf(_ id: VariableID) -> [Place] {
    guard id.index < uses.count else { return [] }
    counter.count += uses[id.index].writers.count
    return uses[id.index].writers
  }

  func sorted(_ places: some Sequence<Place>) -> [Place] {
    places.sorted { links[$0].label < links[$1].label }
  }

  /// The operators that look at a variable's value, in order.
  func readers(of id: VariableID) -> [Place] {
    sorted(readersOf(id).lazy.filter(\.value).map(\.key))
  }

  func readers(of ids: Set<VariableID>) -> [Place] {
    ids.count == 1
      ? readers(of: ids.first!) : sorted(Set(ids.flatMap { readers(of: $0) }))
  }

  /// Whether a gradient looks at a variable's value, or at a view of it.
  func isReadBackward(_ id: VariableID) -> Bool {
    if let own = views.number(of: id) { return classUses[own].backward > 0 }
    return id.index < uses.count && uses[id.index].backward > 0
  }

  /// Whether an in-place layer would like to overwrite a variable, or a view of it.
  func isOverwritten(_ id: VariableID) -> Bool {
    if let own = views.number(of: id) { return classUses[own].overwriting > 0 }
    return id.index < uses.count && uses[id.index].overwriting > 0
  }

  /// The operators that write a variable, in order.
  func writers(of id: VariableID) -> [Place] { sorted(writersOf(id)) }

  /// Where a temporary is made.
  func maker(of id: VariableID) -> Place? {
    guard id.index < uses.count, !program[id].isPersistable else { return nil }
    return uses[id.index].writers.last
  }

  /// The variable and those that are views of it, or it of them.
  func aliases(of id: VariableID) -> Set<VariableID> {
    let all = views.members(of: id)
    counter.count += all.count
    return Set(all)
  }

  /// Whether a variable is a view of another one, or has one.
  func hasAliases(_ id: VariableID) -> Bool { views.number(of: id) != nil }

  /// Whether a variable's value, or a view of it, is fetched.
  func isFetched(_ id: VariableID) -> Bool {
    views.number(of: id).map { classUses[$0].isFetched } ?? fetches.contains(id)
  }

  /// Whether an operator is content with a restored value of `id` wherever it reads it.
  func tolerates(_ place: Place, _ id: VariableID) -> Bool {
    let op = self[place]
    return op.inputs.enumerated().allSatisfy {
      $0.element != id || op.kind.toleratesRestored.contains($0.offset)
        || op.kind.readsTypeOnly.contains($0.offset)
    }
  }

  /// Has the operator at `place` read `new` wherever it read `old`, but where it looks at the type
  /// only.
  mutating func replace(_ old: VariableID, by new: VariableID, in place: Place) {
    let typeOnly = self[place].kind.readsTypeOnly
    var readsType = false
    var isChanged = false
    for position in self[place].inputs.indices where nodes[place]!.inputs[position] == old {
      if typeOnly.contains(position) {
        readsType = true
      } else {
        nodes[place]!.inputs[position] = new
        isChanged = true
      }
    }
    guard isChanged else { return }
    removeReader(place, of: old)
    if readsType { addReader(place, of: old, readsValue: false) }
    makeRoom(for: new)
    removeReader(place, of: new)
    addReader(place, of: new, readsValue: true)
  }

  /// An operator as reasons name it.
  func describe(_ place: Place) -> NamedOperator {
    NamedOperator(kind: self[place].kindName, layer: self[place].layer)
  }
}
