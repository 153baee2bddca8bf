/// What became of one in-place hint.
public struct SharingDecision: Sendable {
  /// The step that gave the hint.
  public let step: Int
  /// The hint.
  public let sharing: BufferSharing
  /// Why not; nil where it was granted.
  public let refusal: String?
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
          : "every buffer has bytes of its own"
        decisions.append(SharingDecision(step: time, sharing: hint, refusal: refusal))
        guard refusal == nil else { continue }
        shared.insert(hint.output)
        taken.insert(unite(hint.output, hint.input))
      }
    }
  }

  private func refusal(
    of hint: BufferSharing, at time: Int, in request: PlanRequest, step: PlanStep, taken: Set<Int>
  ) -> String? {
    let input = request.buffers[hint.input.index]
    let output = request.buffers[hint.output.index]
    let (from, to) = (root(hint.input), root(hint.output))
    if from == to { return "already the same bytes" }
    for buffer in [input, output] where buffer.use == .constant {
      return "\(buffer.name) is kept from run to run"
    }
    if input.use == .persistent { return "\(input.name) lives on in the scope" }
    if output.use == .persistent { return "\(output.name) has its place in the scope" }
    if input.bytes != output.bytes { return "\(input.bytes) bytes against \(output.bytes)" }
    if taken.contains(from) { return "another output of the step took these bytes" }
    guard let outputLife = lives[to], outputLife.lowerBound == time else {
      return "\(output.name) holds a value before this step"
    }
    if hint.kind == .view { return nil }
    guard let life = lives[from] else { return "\(input.name) is never made" }
    if life.upperBound > request.steps.count - 1 { return "\(input.name) is fetched" }
    if life.upperBound > time {
      let reader = request.steps[life.upperBound].name
      return "\(input.name) is read later by \(reader)"
    }
    // Another input in the same bytes could be read at another position than it is written.
    for other in step.reads where other != hint.input && root(other) == from {
      return "\(request.buffers[other.index].name) is in the same bytes and read here too"
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
