import ABNGraph

/// Which variables of a program stand for the same bytes, joined by views.
struct Views {
  /// The class of each variable that has one.
  private var classOf: [VariableID: Int] = [:]
  private var classes: [[VariableID]] = []

  init(_ program: Program) {
    for op in program.operators {
      for rule in op.kind.sharing where rule.strength == .view {
        join(op.inputs[rule.input], op.outputs[rule.output])
      }
    }
  }

  /// How many numbers of classes there are.
  var count: Int { classes.count }

  /// The class of a variable; nil for one alone in its bytes.
  func number(of id: VariableID) -> Int? { classOf[id] }

  func members(of id: VariableID) -> [VariableID] { classOf[id].map { classes[$0] } ?? [id] }

  private mutating func ownClass(_ id: VariableID) -> Int {
    if let known = classOf[id] { return known }
    classes.append([id])
    classOf[id] = classes.count - 1
    return classes.count - 1
  }

  private mutating func join(_ a: VariableID, _ b: VariableID) {
    var (large, small) = (ownClass(a), ownClass(b))
    if large == small { return }
    // The members of the smaller class move: each moves at most log2(n) times.
    if classes[large].count < classes[small].count { swap(&large, &small) }
    for id in classes[small] { classOf[id] = large }
    classes[large] += classes[small]
    classes[small] = []
  }
}
