import ABNDNNL
import ABNGraph
import ABNKernels
import ABNPlanning
import ABNRuntime
import ABNTensors

/// How the CPU runs operators of a kind.
protocol CPULowering {
  /// Whether `lower` deals with float16 and bfloat16 itself. Where it does not, it sees float32:
  /// what it reads is converted before its steps, what it writes after them.
  static var takes16Bits: Bool { get }

  /// How the steps walk the operator's images: the layouts that `LoweringContext.layout(ofInput:)`
  /// may say.
  var walk: ImageWalk { get }

  /// Appends the steps of one operator.
  func lower(_ c: inout LoweringContext) throws
}

/// A kind that the CPU runs. The conformance is the registration.
protocol CPULowerable: OperatorKind, CPULowering {}

extension CPULowering {
  static var takes16Bits: Bool { false }
  var walk: ImageWalk { .rowMajor }
}

/// A kind whose steps look something up in tables of their own.
protocol TableReader: CPULowerable {
  /// At most the bytes of the tables, for inputs and outputs of these shapes.
  func tableBytes(_ shapes: [Shape]) -> Int
}

/// What a lowering sees: one operator, and the steps and buffers of the whole program.
struct LoweringContext: LoweredParts {
  let program: Program
  private(set) var op: Operator
  /// Where the operator stands in the program.
  private(set) var position = -1
  private(set) var steps: [Step] = []
  private(set) var buffers: [PlanBuffer] = []
  /// By the variable under which the gradient finds them: the bytes, and the type that they are of.
  private var sideBufferOf: [VariableID: (buffer: any SideBuffer, type: TensorType)] = [:]
  private var places: [VariableID: [PhysicalLayout: BufferID]] = [:]
  /// The layout in which a variable was written.
  private var homes: [VariableID: PhysicalLayout] = [:]
  private var inputBuffers: [Int: BufferID] = [:]
  private var outputBuffers: [Int: BufferID] = [:]
  /// How the operator walks its images.
  private var walk = ImageWalk.rowMajor
  /// Whether 16-bit variables are float32 to this operator, and the values that are so far.
  private var widens = false
  private var widened: [VariableID: [PhysicalLayout: BufferID]] = [:]
  /// The 16-bit outputs that the operator makes in float32.
  private var unfinished: [(output: Int, layout: PhysicalLayout, wide: BufferID)] = []
  /// The place of the operator that makes each temporary.
  private let makers: [VariableID: Int]
  private(set) var readBeforeWrite = Set<VariableID>()
  private(set) var persistents: [VariableID: BufferID] = [:]

  /// The layouts that cost the fewest conversions.
  private let assignment: LayoutAssignment
  /// The convolutions of the program, each made once.
  var convolutions: ConvolutionPrimitives

  /// - Parameter usesBlocks: whether images may stand in blocks of channels.
  init(program: Program, usesBlocks: Bool = true) throws {
    self.program = program
    op = program.operators.first!
    makers = Dictionary(
      program.operators.enumerated().flatMap { place, op in
        op.outputs.map { ($0, place) }
      }, uniquingKeysWith: { first, _ in first })
    convolutions = ConvolutionPrimitives(usesBlocks: usesBlocks)
    assignment = try LayoutAssignment(program, &convolutions)
  }

  /// Appends the steps of an operator.
  mutating func lower(_ op: Operator, _ kind: any CPULowering) throws {
    self.op = op
    position += 1
    inputBuffers = [:]
    outputBuffers = [:]
    widened = [:]
    widens = !type(of: kind).takes16Bits
    walk = kind.walk
    try kind.lower(&self)
    widens = false
    for (output, layout, wide) in unfinished {
      let target = write(output, in: layout).buffer
      try appendConversion(outputType(output), from: wide, .float32, to: target)
    }
    unfinished = []
  }

  // MARK: What the operator is about

  /// The type of input `index`.
  func inputType(_ index: Int) -> TensorType { seenType(op.inputs[index]) }
  /// The type of output `index`.
  func outputType(_ index: Int) -> TensorType { seenType(op.outputs[index]) }

  /// The type of a variable as the operator sees it.
  private func seenType(_ id: VariableID) -> TensorType {
    let type = program[id].type
    return widens ? type.accumulation : type
  }

  /// Whether the operator sees float32 where the variable has 16 bits.
  private func isWidened(_ id: VariableID) -> Bool { seenType(id) != program[id].type }

  /// The number of inputs.
  var inputCount: Int { op.inputs.count }
  /// The number of outputs.
  var outputCount: Int { op.outputs.count }
  /// The layout in which the operator is to walk its images, by input `index`: the variable's,
  /// where the operator's walk takes it, else row-major.
  func layout(ofInput index: Int) -> PhysicalLayout {
    let id = op.inputs[index]
    return taken(assignment.layouts[id] ?? homes[id] ?? .plain, by: id)
  }

  /// The layout in which output `index` is to stand; plain where nobody else walks it in another.
  func layout(ofOutput index: Int) -> PhysicalLayout {
    let id = op.outputs[index]
    return taken(assignment.layouts[id] ?? .plain, by: id)
  }

  /// A layout of a variable, or row-major where the operator cannot walk the variable's blocks.
  private func taken(_ layout: PhysicalLayout, by id: VariableID) -> PhysicalLayout {
    walk.takesBlocks(rank: program[id].shape.rank) ? layout : .plain
  }

  /// The layout to read or write a variable in. Blocks that the operator's walk does not take are
  /// a mistake of its lowering: the steps would take one axis for another.
  private func place(_ id: VariableID, in wanted: PhysicalLayout) -> PhysicalLayout {
    let variable = program[id]
    let layout = wanted.isPlain(variable.shape) ? .plain : wanted
    precondition(
      layout == .plain || walk.takesBlocks(rank: variable.shape.rank),
      "\(op.kindName) asks for \(variable.name) as \(layout), but walks \(walk)")
    return layout
  }

  // MARK: Arguments

  /// Input `index` in a layout, converted by a step of its own where it stands in another.
  mutating func read(_ index: Int, in wanted: PhysicalLayout = .plain) throws -> StepArgument {
    let id = op.inputs[index]
    let layout = place(id, in: wanted)
    let buffer = isWidened(id) ? try widen(id, in: layout) : try buffer(of: id, in: layout)
    inputBuffers[index] = buffer
    return .read(buffer)
  }

  /// Output `index` in a layout; an output that must overwrite an input is that input, updated.
  mutating func write(_ index: Int, in wanted: PhysicalLayout = .plain) -> StepArgument {
    let id = op.outputs[index]
    let variable = program[id]
    let layout = place(id, in: wanted)
    if isWidened(id) {
      // A variable that is updated has been read, or has no value that counts.
      let wide = widened[id]?[layout] ?? intermediate("in float32", bytes: outputType(index).bytes)
      unfinished.append((index, layout, wide))
      outputBuffers[index] = wide
      return variable.isPersistable && op.inputs.contains(id) ? .update(wide) : .write(wide)
    }
    if variable.isPersistable {
      precondition(layout == .plain, "persistables are row-major")
      let buffer = persistentBuffer(id)
      // Converted copies of the old value are of no use any more.
      places[id] = [.plain: buffer]
      outputBuffers[index] = buffer
      return op.inputs.contains(id) ? .update(buffer) : .write(buffer)
    }
    let use: BufferUse = op.role == .forward ? .activation : .gradient
    let buffer = addBuffer(named: variable.name, bytes: variable.type.bytes, use: use)
    places[id] = [layout: buffer]
    homes[id] = layout
    outputBuffers[index] = buffer
    return .write(buffer)
  }

  /// Bytes that only the next step uses.
  mutating func scratch(bytes: Int) -> StepArgument {
    .write(addBuffer(named: "\(op.layer) scratch", bytes: bytes, use: .scratch))
  }

  /// Bytes that one step of this operator writes and others read.
  mutating func intermediate(_ name: String, bytes: Int) -> BufferID {
    addBuffer(named: "\(op.layer) \(name)", bytes: bytes, use: .scratch)
  }

  /// A 16-bit variable as float32, for this operator only.
  private mutating func widen(_ id: VariableID, in layout: PhysicalLayout) throws -> BufferID {
    if let known = widened[id]?[layout] { return known }
    let home = homes[id] ?? .plain
    let narrow = try buffer(of: id, in: home)
    let type = seenType(id)
    let wide = intermediate("\(program[id].name) in float32", bytes: type.bytes)
    try appendConversion(program[id].type, from: narrow, program[id].dtype, to: wide)
    widened[id, default: [:]][home] = wide
    guard layout != home else { return wide }
    let target = intermediate("\(program[id].name) in float32, \(layout)", bytes: type.bytes)
    try appendReorder(type, from: (wide, home), to: (target, layout))
    widened[id]![layout] = target
    return target
  }

  /// A step that converts between 16 bits and float32, `type` being the 16-bit variable's.
  private mutating func appendConversion(
    _ type: TensorType, from source: BufferID, _ stored: DType, to target: BufferID
  ) throws {
    let (count, dtype) = (type.shape.elementCount, type.dtype)
    let widens = stored == dtype
    let (from, to) = (try element(stored), try element(widens ? .float32 : dtype))
    let kernel = try FlatKernel(.copy, in: .float32)
    steps.append(
      Step(
        name: "\(op.kindName) (\(widens ? "from" : "to") \(dtype))", layer: op.layer,
        source: op.source, arguments: [.read(source), .write(target)], sharing: [],
        purpose: .conversion, op: position
      ) { p in
        kernel(FlatOperands(FlatOperand(p[0], from), FlatOperand(p[1], to)), count: count)
      })
  }

  /// Notes bytes outside the arena under the variable by which the gradient finds them.
  mutating func noteSideBuffer(_ side: any SideBuffer, for id: VariableID) {
    sideBufferOf[id] = (side, program[op.outputs[0]].type)
  }

  /// The bytes that a layer registered for input `index`.
  ///
  /// - Throws: `ABNError(.program)` where none did, or it did so for another type than input 0 has:
  ///   a program may hold any operator over any variables.
  func sideBuffer<B: SideBuffer>(ofInput index: Int, as _: B.Type = B.self) throws -> B {
    let id = op.inputs[index]
    let type = program[op.inputs[0]].type
    guard let found = sideBufferOf[id], found.type == type, let buffer = found.buffer as? B else {
      throw ABNError(
        .program, "input \(index)", got: "\(quoted(program[id].name))",
        wanted: "what the layer whose gradient this is made for a \(type)",
        fix: "Have differentiation append the operator.")
    }
    return buffer
  }

  /// The operator that makes input `index`; nil for what is fed or lives in the scope.
  func maker(ofInput index: Int) -> Operator? {
    makers[op.inputs[index]].map { program.operators[$0] }
  }

  // MARK: Steps

  /// Appends a step as it is.
  mutating func append(_ step: Step) { steps.append(step) }

  /// Appends a step.
  ///
  /// The kind's `may` and `view` rules become in-place hints where this step has both buffers as
  /// arguments, in the same layout. `run` must be right whether a hint is granted or not.
  ///
  /// - Parameters:
  ///   - resources: what it touches outside arena and scope.
  ///   - flops: floating-point operators, where they and not the bytes take the time.
  ///   - mayShare: false where the hints of the kind must not be granted.
  ///   - note: for reports, what is not the usual course and why.
  mutating func step(
    _ arguments: [StepArgument], resources: [StepResource] = [], detail: String = "",
    purpose: StepPurpose = .work, flops: Int = 0, mayShare: Bool = true,
    note: String? = nil,
    run: @escaping @Sendable (StepPointers) throws -> Void
  ) {
    let hints =
      mayShare
      ? op.kind.sharingHints(
        of: arguments, outputs: outputBuffers, inputs: inputBuffers) : []
    steps.append(
      Step(
        name: detail.isEmpty ? op.kindName : "\(op.kindName) \(detail)",
        layer: op.layer, source: op.source, arguments: arguments, sharing: hints,
        resources: resources, purpose: purpose, op: position, flops: flops, note: note,
        run: run))
  }

  // MARK: Buffers

  private mutating func addBuffer(
    named name: String, bytes: Int, use: BufferUse, origin: String? = nil
  ) -> BufferID {
    buffers.append(
      PlanBuffer(
        name: name, bytes: bytes, use: use,
        origin: origin ?? "\(op.kindName) \(quoted(op.layer)) (\(op.source))"))
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
      use: op.role == .forward ? .activation : .gradient)
    places[id]![layout] = target
    try appendReorder(variable.type, from: (source, home), to: (target, layout))
    return target
  }

  mutating func rowMajorBuffer(of id: VariableID) throws -> BufferID {
    try buffer(of: id, in: .plain)
  }

  /// Marks the row-major bytes of a variable as fetched.
  mutating func fetch(_ id: VariableID) throws -> BufferID {
    let buffer = try buffer(of: id, in: .plain)
    buffers[buffer.index].isFetched = true
    return buffer
  }
}
