import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// A kind that the CPU runs. The conformance is the registration.
protocol CPULowerable: OperationKind {
  /// Appends the steps of one operation.
  func lower(_ c: inout LoweringContext) throws
}

/// What a lowering sees: one operation, and the steps and buffers of the whole program.
struct LoweringContext {
  let program: Program
  private(set) var operation: Operation
  private(set) var steps: [Step] = []
  private(set) var buffers: [PlanBuffer] = []
  private(set) var sideBuffers: [(layer: String, buffer: any SideBuffer)] = []
  private var sideBufferOf: [VariableID: any SideBuffer] = [:]
  private var places: [VariableID: [PhysicalLayout: BufferID]] = [:]
  /// The layout in which a variable was written.
  private var homes: [VariableID: PhysicalLayout] = [:]
  private var inputBuffers: [Int: BufferID] = [:]
  private var outputBuffers: [Int: BufferID] = [:]
  private(set) var readBeforeWrite = Set<VariableID>()
  private(set) var persistents: [VariableID: BufferID] = [:]

  init(program: Program) {
    self.program = program
    operation = program.operations.first!
  }

  mutating func begin(_ operation: Operation) {
    self.operation = operation
    inputBuffers = [:]
    outputBuffers = [:]
  }

  // MARK: What the operation is about

  /// The type of input `index`.
  func inputType(_ index: Int) -> TensorType { program[operation.inputs[index]].type }
  /// The type of output `index`.
  func outputType(_ index: Int) -> TensorType { program[operation.outputs[index]].type }
  /// The number of inputs.
  var inputCount: Int { operation.inputs.count }
  /// The number of outputs.
  var outputCount: Int { operation.outputs.count }
  /// The layout in which input `index` stands without conversion.
  func layout(ofInput index: Int) -> PhysicalLayout { homes[operation.inputs[index]] ?? .plain }

  // MARK: Arguments

  /// Input `index` in a layout, converted by a step of its own where it stands in another.
  mutating func read(_ index: Int, in layout: PhysicalLayout = .plain) throws -> StepArgument {
    let buffer = try buffer(of: operation.inputs[index], in: layout)
    inputBuffers[index] = buffer
    return .read(buffer)
  }

  /// Output `index` in a layout; an output that must overwrite an input is that input, updated.
  mutating func write(_ index: Int, in layout: PhysicalLayout = .plain) -> StepArgument {
    let id = operation.outputs[index]
    let variable = program[id]
    if variable.isPersistable {
      precondition(layout == .plain, "persistables are row-major")
      let buffer = persistentBuffer(id)
      // Converted copies of the old value are of no use any more.
      places[id] = [.plain: buffer]
      outputBuffers[index] = buffer
      return operation.inputs.contains(id) ? .update(buffer) : .write(buffer)
    }
    let use: BufferUse = operation.role == .forward ? .activation : .gradient
    let buffer = addBuffer(named: variable.name, bytes: variable.type.bytes, use: use)
    places[id] = [layout: buffer]
    homes[id] = layout
    outputBuffers[index] = buffer
    return .write(buffer)
  }

  /// Bytes that only the next step uses.
  mutating func scratch(bytes: Int) -> StepArgument {
    .write(addBuffer(named: "\(operation.layer) scratch", bytes: bytes, use: .scratch))
  }

  /// Bytes that one step of this operation writes and others read.
  mutating func intermediate(_ name: String, bytes: Int) -> BufferID {
    addBuffer(named: "\(operation.layer) \(name)", bytes: bytes, use: .scratch)
  }

  /// Registers bytes outside the arena, under the variable by which the gradient finds them.
  mutating func registerSideBuffer(_ side: any SideBuffer, for id: VariableID) {
    sideBuffers.append(("\(operation.layer) (\(operation.source))", side))
    sideBufferOf[id] = side
  }

  /// The bytes that were registered for a variable.
  func sideBuffer(of id: VariableID) -> (any SideBuffer)? { sideBufferOf[id] }

  // MARK: Steps

  /// Appends a step.
  ///
  /// The kind's `may` and `view` rules become wishes to share where this step has both buffers as
  /// arguments, in the same layout. `run` must be right whether a wish is granted or not.
  mutating func step(
    _ arguments: [StepArgument], detail: String = "",
    run: @escaping @Sendable (StepPointers) -> Void
  ) {
    let reads = Set(arguments.filter { $0.access == .read }.map(\.buffer))
    let writes = Set(arguments.filter { $0.access == .write }.map(\.buffer))
    var wishes: [BufferSharing] = []
    for rule in operation.kind.sharing where rule.strength != .must {
      guard let output = outputBuffers[rule.output], let input = inputBuffers[rule.input],
        reads.contains(input), writes.contains(output)
      else { continue }
      wishes.append(
        BufferSharing(
          output: output, input: input, rule.strength == .view ? .view : .overwrite))
    }
    steps.append(
      Step(
        name: detail.isEmpty ? operation.kindName : "\(operation.kindName) \(detail)",
        layer: operation.layer, source: operation.source, arguments: arguments, sharing: wishes,
        run: run))
  }

  // MARK: Buffers

  private mutating func addBuffer(
    named name: String, bytes: Int, use: BufferUse, origin: String? = nil
  ) -> BufferID {
    buffers.append(
      PlanBuffer(
        name: name, bytes: bytes, use: use,
        origin: origin ?? "\(operation.kindName) \"\(operation.layer)\" (\(operation.source))"))
    return BufferID(buffers.count - 1)
  }

  private mutating func persistentBuffer(_ id: VariableID) -> BufferID {
    if let known = persistents[id] { return known }
    let variable = program[id]
    let buffer = addBuffer(
      named: variable.name, bytes: variable.type.bytes, use: .persistent,
      origin: "\(variable.source)")
    persistents[id] = buffer
    return buffer
  }

  /// The bytes of a variable in a layout.
  mutating func buffer(of id: VariableID, in layout: PhysicalLayout) throws -> BufferID {
    let variable = program[id]
    if variable.isPersistable && persistents[id] == nil { readBeforeWrite.insert(id) }
    if let known = places[id]?[layout] { return known }
    switch variable.role {
    case .parameter, .state: places[id, default: [:]][.plain] = persistentBuffer(id)
    case .data where places[id] == nil:
      let feed = addBuffer(
        named: variable.name, bytes: variable.type.bytes, use: .feed,
        origin: "data (\(variable.source))")
      places[id] = [.plain: feed]
    case .data, .temporary: break
    }
    if let known = places[id]?[layout] { return known }
    let home = homes[id] ?? .plain
    guard let source = places[id]?[home] else {
      preconditionFailure("\(variable.name) is read before it is made")
    }
    let target = addBuffer(
      named: "\(variable.name) as \(layout)", bytes: variable.type.bytes,
      use: operation.role == .forward ? .activation : .gradient)
    places[id]![layout] = target
    steps.append(
      try reorderStep(variable, from: (source, home), to: (target, layout), in: operation))
    return target
  }

  /// Marks the row-major bytes of a variable as fetched.
  mutating func fetch(_ id: VariableID) throws -> BufferID {
    let buffer = try buffer(of: id, in: .plain)
    buffers[buffer.index].isFetched = true
    return buffer
  }
}
