import ABNGraph
import ABNPlanning
import ABNTensors

/// How a step uses one of its arguments.
package enum StepAccess: Sendable, Hashable {
  /// Reads it.
  case read
  /// Writes it.
  case write
  /// Reads and writes it: a persistent buffer that is updated.
  case update
}

/// One argument of a step.
package struct StepArgument: Sendable, Hashable {
  /// The bytes.
  package let buffer: BufferID
  /// What happens to them.
  package let access: StepAccess

  /// A buffer that is read.
  package static func read(_ buffer: BufferID) -> StepArgument {
    StepArgument(buffer: buffer, access: .read)
  }
  /// A buffer that is written.
  package static func write(_ buffer: BufferID) -> StepArgument {
    StepArgument(buffer: buffer, access: .write)
  }
  /// A persistent buffer that is read and written.
  package static func update(_ buffer: BufferID) -> StepArgument {
    StepArgument(buffer: buffer, access: .update)
  }
}

/// The addresses of a step's arguments, in their order.
@usableFromInline package struct StepPointers: @unchecked Sendable {
  // Sendable: of addresses that do not change; who reads and writes there is the step's to say,
  // whose team's members write no element that another one touches.
  /// The first of them.
  @usableFromInline package let base: UnsafePointer<UnsafeMutableRawPointer>

  /// Addresses in an array that outlives the use.
  package init(base: UnsafePointer<UnsafeMutableRawPointer>) { self.base = base }

  /// The address of argument `index`.
  @inlinable
  package subscript(index: Int) -> UnsafeMutableRawPointer { base[index] }

  /// Argument `index` as elements of type `T`.
  @inlinable
  package func callAsFunction<T>(_ index: Int, as type: T.Type = T.self) -> UnsafeMutablePointer<T>
  {
    base[index].assumingMemoryBound(to: T.self)
  }
}

/// What a step keeps outside the arena, and how it uses it: of its bytes those that are no
/// argument.
package struct StepResource: Sendable {
  /// The bytes.
  package let buffer: any SideBuffer
  /// What happens to them: `write` makes what is there anew, `read` leaves it.
  package let access: StepAccess

  /// Bytes that a step reads.
  package static func read(_ buffer: any SideBuffer) -> StepResource {
    StepResource(buffer: buffer, access: .read)
  }
  /// Bytes that a step writes, whatever was there.
  package static func write(_ buffer: any SideBuffer) -> StepResource {
    StepResource(buffer: buffer, access: .write)
  }
}

/// What a step is there for.
package enum StepPurpose: Sendable, Hashable {
  /// The operator's own work.
  case work
  /// The same values in another layout, because the operator reads them so.
  case conversion
}

/// A piece of work on bytes: what a backend makes of an operator.
public struct Step: Sendable {
  /// The operator's kind, and what this step does for it where that is not all.
  public let name: String
  /// The layer and source line that it came from.
  public let layer: String
  /// The line of that layer.
  public let source: SourceLocation?
  /// Every byte it touches, scratch included, but those of `resources`.
  package let arguments: [StepArgument]
  /// Every byte it touches outside arena and scope. Who moves a step keeps it behind those that
  /// write what it reads; a step that runs twice writes them twice.
  package let resources: [StepResource]
  /// Outputs that it could store over inputs.
  package let sharing: [BufferSharing]
  /// What it is there for.
  package let purpose: StepPurpose
  /// The position of its operator in the program; nil where it has none.
  package let op: Int?
  /// Floating-point operators, two for a multiply-add; 0 where bytes are what counts.
  package let flops: Int
  /// For reports: what is not the usual course and why; nil in the usual one.
  package let note: String?
  /// Does the work. No allocation; no checks but those that a library makes anyway, whose refusal
  /// is thrown.
  package var run: @Sendable (StepPointers) throws -> Void

  /// A step.
  package init(
    name: String, layer: String, source: SourceLocation?, arguments: [StepArgument],
    sharing: [BufferSharing], resources: [StepResource] = [], purpose: StepPurpose = .work,
    op: Int? = nil, flops: Int = 0, note: String? = nil,
    run: @escaping @Sendable (StepPointers) throws -> Void
  ) {
    self.purpose = purpose
    self.op = op
    self.flops = flops
    self.note = note
    self.name = name
    self.layer = layer
    self.source = source
    self.arguments = arguments
    self.resources = resources
    self.sharing = sharing
    self.run = run
  }
}

/// Bytes outside the arena that a step asks for only when its data need them (the rescue buffer of
/// an in-place layer whose scale is zero in some channel): a resource of the steps that touch them.
/// The room is kept from run to run, what stands in it until the step that writes it runs again.
package protocol SideBuffer: AnyObject, Sendable {
  /// The bytes held now.
  var bytes: Int { get }
  /// The most that the data can make it hold.
  var mostBytes: Int { get }
  /// For reports: what is kept there and when.
  var purpose: String { get }
}

/// What a backend makes of a program: steps, the buffers they touch, and where values enter and
/// leave.
public struct LoweredProgram: Sendable {
  /// A value that enters or leaves in row-major order.
  package struct Port: Sendable {
    /// The variable's name.
    package let name: String
    /// Its shape and element type; the shape is known.
    package let type: TensorType
    /// Where its bytes are.
    package let buffer: BufferID

    /// A port of the variable `name`.
    package init(name: String, type: TensorType, buffer: BufferID) {
      self.name = name
      self.type = type
      self.buffer = buffer
    }
  }

  /// The steps in order.
  public var steps: [Step]
  /// All buffers.
  public var buffers: [PlanBuffer]
  /// What the caller feeds.
  package var feeds: [Port]
  /// What the caller fetches, in the order asked for.
  package var fetches: [Port]
  /// What lives in the scope; `isRead` tells whether a value must be there before the run.
  package var persistents: [(port: Port, isRead: Bool)]
  /// Whether its steps may be recorded and begun again: not those that work on the host.
  package var isRecordable = true
  /// A lowered program.
  package init(
    steps: [Step], buffers: [PlanBuffer], feeds: [Port], fetches: [Port],
    persistents: [(port: Port, isRead: Bool)]
  ) {
    self.steps = steps
    self.buffers = buffers
    self.feeds = feeds
    self.fetches = fetches
    self.persistents = persistents
  }

  /// The resources of all steps, each once with the layer of the first step that has it.
  package var sideBuffers: [(layer: String, buffer: any SideBuffer)] {
    var known = Set<ObjectIdentifier>()
    return steps.flatMap { step in
      step.resources.filter { known.insert(ObjectIdentifier($0.buffer)).inserted }.map {
        ("\(step.layer)" + (step.source.map { " (\($0))" } ?? ""), $0.buffer)
      }
    }
  }

  /// Why the steps are in no order in which they can run: one that reads a resource before a step
  /// has written it; nil where all is well.
  package var resourceFault: String? {
    var written = Set<ObjectIdentifier>()
    for step in steps {
      for resource in step.resources {
        let id = ObjectIdentifier(resource.buffer)
        if resource.access != .write, !written.contains(id) {
          return
            "step \(quoted("\(step.name) \(step.layer)")) before the one that writes what it reads of: "
            + resource.buffer.purpose
        }
      }
      written.formUnion(
        step.resources.filter { $0.access != .read }.map { ObjectIdentifier($0.buffer) })
    }
    return nil
  }

  /// The planner's view.
  package var planRequest: PlanRequest {
    PlanRequest(
      buffers: buffers,
      steps: steps.map { step in
        PlanStep(
          name: "\(step.name) \(quoted(step.layer))",
          reads: step.arguments.filter { $0.access != .write }.map(\.buffer),
          writes: step.arguments.filter { $0.access != .read }.map(\.buffer),
          sharing: step.sharing)
      })
  }
}
