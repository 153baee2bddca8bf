import ABNDNNL
import ABNGraph
import ABNOperators
import ABNTensors

/// Which layout each image variable of a program is to stand in: the one that costs the fewest
/// bytes of conversion.
///
/// Variables that an operator walks in one layout, blocks or not (`ImageWalk`), form a group:
/// between two convolutions everything is one group, its gradients too. Each convolution votes,
/// with the bytes of the variable, for the layout that oneDNN likes best for it; whoever feeds a
/// variable, walks it row by row, or has its channels on another axis than the blocks', votes for
/// the plain one. The group takes the layout with the most bytes behind it that all its members can
/// have. A conversion remains where a voter was in the minority.
struct LayoutAssignment {
  /// The layouts of the members of groups.
  private(set) var layouts: [VariableID: PhysicalLayout] = [:]

  init(_ program: Program, _ convolutions: inout ConvolutionPrimitives) throws {
    var groups = Groups()
    var votes: [(VariableID, PhysicalLayout)] = []
    func isImage(_ id: VariableID) -> Bool {
      let variable = program[id]
      return !variable.isPersistable && variable.shape.rank >= 3
        && variable.shape.dimensions[1] % 8 == 0
    }
    for op in program.operators {
      let images = (op.inputs + op.outputs).filter(isImage)
      if let preferred = try convolutions.preferredLayouts(of: op, in: program) {
        votes += preferred.filter { isImage($0.0) }
      } else if let kind = op.kind as? any CPULowerable,
        let rank = images.map({ program[$0].shape.rank }).max(), kind.walk.takesBlocks(rank: rank)
      {
        // One of lower rank is broadcast: its second dimension is another one.
        let own = images.filter { program[$0].shape.rank == rank }
        for other in own.dropFirst() { groups.unite(own[0], other) }
        votes += images.filter { !own.contains($0) }.map { ($0, .plain) }
      } else {
        votes += images.map { ($0, .plain) }
      }
    }
    votes += program.variables.filter { $0.role == .data && isImage($0.id) }
      .map { ($0.id, .plain) }

    var bytes: [VariableID: [PhysicalLayout: Int]] = [:]
    for (id, layout) in votes where !layout.isPlain(program[id].shape) || layout == .plain {
      // Without extent the layouts are the same bytes, and nobody needs to convert.
      guard program[id].shape.dimensions[2...].contains(where: { $0 != 1 }) else { continue }
      bytes[groups.root(id), default: [:]][layout, default: 0] += program[id].type.bytes
    }
    for (root, members) in groups.members() {
      let ranked = bytes[root, default: [:]].sorted {
        ($0.value, $1.key.block) > ($1.value, $0.key.block)
      }
      let best = ranked.first { layout, _ in
        members.allSatisfy { layout.fits(program[$0].shape) }
      }
      for id in members { layouts[id] = best?.key ?? .plain }
    }
  }

  /// Variables that stand in one layout.
  private struct Groups {
    private var parents: [VariableID: VariableID] = [:]

    mutating func root(_ id: VariableID) -> VariableID {
      guard let parent = parents[id], parent != id else { return id }
      let top = root(parent)
      parents[id] = top
      return top
    }

    mutating func unite(_ a: VariableID, _ b: VariableID) {
      let (first, second) = (root(a), root(b))
      parents[first] = parents[first] ?? first
      parents[second] = first
    }

    mutating func members() -> [VariableID: [VariableID]] {
      let ids = parents.keys.sorted()
      var result: [VariableID: [VariableID]] = [:]
      for id in ids { result[root(id), default: []].append(id) }
      return result
    }
  }
}

extension PhysicalLayout {
  /// The channels of a block; 1 where there are none.
  var block: Int { if case .blocked(let block) = self { block } else { 1 } }

  /// Whether a variable of this shape can stand so, without padding.
  func fits(_ shape: Shape) -> Bool { self == .plain || shape[1] % block == 0 }

  /// The dimensions that the bytes of a variable have: [N, C / block, ..., block] for a blocked
  /// one.
  func physicalShape(_ shape: Shape) -> Shape {
    guard case .blocked(let block) = self else { return shape }
    let dims = shape.dimensions
    return dims[1] == 1
      // One channel, broadcast over all of them.
      ? Shape(dims + [1])
      : Shape([dims[0], dims[1] / block] + dims[2...] + [block])
  }

  /// Where a position along an axis of the variable is along that axis of `physicalShape`; a
  /// multiple of the block along the channels.
  func physicalOffset(_ offset: Int, axis: Int) -> Int { axis == 1 ? offset / block : offset }

  /// Whether these are the bytes of the plain layout: no blocks, or nothing beside the channels.
  func isPlain(_ shape: Shape) -> Bool {
    self == .plain || shape.rank >= 2 && shape.dimensions[2...].allSatisfy { $0 == 1 }
  }
}
