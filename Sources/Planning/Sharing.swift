/// Why the output of a step got bytes of its own.
public enum SharingRefusal: Sendable, Hashable, CustomStringConvertible {
  /// Plans of this mode share nothing.
  case nothingIsShared
  /// An earlier hint has united them.
  case alreadyShared
  /// The buffer is made once and kept from run to run.
  case constant(String)
  /// The input's value lives on in the scope.
  case inputInScope(String)
  /// The output has its place in the scope.
  case outputInScope(String)
  /// They differ in size, in bytes.
  case sizes(input: Int, output: Int)
  /// Another output of the step took the input's bytes.
  case taken
  /// The output holds a value before the step.
  case holdsValue(String)
  /// No step makes the input.
  case neverMade(String)
  /// The caller reads the input after the last step.
  case fetched(String)
  /// A later step reads the input.
  case readLater(String, reader: String)
  /// The step reads another input in the same bytes, perhaps at another position.
  case readBeside(String)

  public var description: String {
    switch self {
    case .nothingIsShared: "every buffer has bytes of its own"
    case .alreadyShared: "already the same bytes"
    case .constant(let name): "\(name) is kept from run to run"
    case .inputInScope(let name): "\(name) lives on in the scope"
    case .outputInScope(let name): "\(name) has its place in the scope"
    case .sizes(let input, let output): "\(input) bytes against \(output)"
    case .taken: "another output of the step took these bytes"
    case .holdsValue(let name): "\(name) holds a value before this step"
    case .neverMade(let name): "\(name) is never made"
    case .fetched(let name): "\(name) is fetched"
    case .readLater(let name, let reader): "\(name) is read later by \(reader)"
    case .readBeside(let name): "\(name) is in the same bytes and read here too"
    }
  }
}

/// What became of one in-place hint.
public struct SharingDecision: Sendable {
  /// The step that gave the hint.
  public let step: Int
  /// The hint.
  public let sharing: BufferSharing
  /// Why not; nil where it was granted.
  public let refusal: SharingRefusal?
}

/// Buffers that share bytes, united before anything is placed.
struct SharingClasses {
  private var parent: [Int]
  /// For each root: when the class holds a value.
  private(set) var lives: [ClosedRange<Int>?]
  /// For each root: the bytes of its largest member.
  private(set) var bytes: [Int]
  private(set) var decisions: [SharingDecision] = []

  /// The class of a buffer, one step away: only buffers that hold no value yet, alone in their
  /// class, join another one.
  func root(_ id: BufferID) -> Int {
    var index = id.index
    while parent[index] != index { index = parent[index] }
    return index
  }

  /// Grants every hint that is legal, in the order of the steps.
  ///
  /// A class may be overwritten at step `t` if nothing reads any of its members after `t`: later
  /// members cannot appear, because a view of an old value would be such a read.
  init(_ request: PlanRequest, mayShare: Bool = true) {
    parent = Array(request.buffers.indices)
    lives = request.lifetimes()
    bytes = request.buffers.map(\.bytes)
    for (time, step) in request.steps.enumerated() {
      var taken = Set<Int>()
      var shared = Set<BufferID>()
      for hint in step.sharing where !shared.contains(hint.output) {
        let refusal =
          mayShare
          ? refusal(of: hint, at: time, in: request, step: step, taken: taken)
          : .nothingIsShared
        decisions.append(SharingDecision(step: time, sharing: hint, refusal: refusal))
        guard refusal == nil else { continue }
        shared.insert(hint.output)
        taken.insert(unite(hint.output, hint.input))
      }
    }
  }

  private func refusal(
    of hint: BufferSharing, at time: Int, in request: PlanRequest, step: PlanStep, taken: Set<Int>
  ) -> SharingRefusal? {
    let input = request.buffers[hint.input.index]
    let output = request.buffers[hint.output.index]
    let (from, to) = (root(hint.input), root(hint.output))
    if from == to { return .alreadyShared }
    for buffer in [input, output] where buffer.use == .constant {
      return .constant(buffer.name)
    }
    if input.use == .persistent { return .inputInScope(input.name) }
    if output.use == .persistent { return .outputInScope(output.name) }
    if input.bytes != output.bytes { return .sizes(input: input.bytes, output: output.bytes) }
    if taken.contains(from) { return .taken }
    guard let outputLife = lives[to], outputLife.lowerBound == time else {
      return .holdsValue(output.name)
    }
    if hint.kind == .view { return nil }
    guard let life = lives[from] else { return .neverMade(input.name) }
    if life.upperBound > request.steps.count - 1 { return .fetched(input.name) }
    if life.upperBound > time {
      return .readLater(input.name, reader: request.steps[life.upperBound].name)
    }
    // Another input in the same bytes could be read at another position than it is written.
    for other in step.reads where other != hint.input && root(other) == from {
      return .readBeside(request.buffers[other.index].name)
    }
    return nil
  }

  private mutating func unite(_ a: BufferID, _ b: BufferID) -> Int {
    let (gone, kept) = (root(a), root(b))
    parent[gone] = kept
    bytes[kept] = max(bytes[kept], bytes[gone])
    if let x = lives[gone], let y = lives[kept] {
      lives[kept] =
        min(x.lowerBound, y.lowerBound)...max(x.upperBound, y.upperBound)
    }
    return kept
  }
}
