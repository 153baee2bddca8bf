import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// How the card runs operators of a kind.
protocol CUDALowering {
  /// How the kernels walk the operator's images: the orders that `CUDAContext.order(ofInput:)` may
  /// say.
  var walk: ImageWalk { get }

  /// Appends the steps of one operator.
  func lower(_ c: inout CUDAContext) throws
}

extension CUDALowering {
  var walk: ImageWalk { .rowMajor }
}

/// A kind that the card runs. The conformance is the registration.
protocol CUDALowerable: OperatorKind, CUDALowering {}

/// What a lowering sees: one operator, and the steps and buffers of the whole program.
struct CUDAContext: LoweredParts {
  let device: CUDADevice
  let program: Program
  /// What numbers may be rounded to inside of convolutions and products.
  let precision: CUDAPrecision
  private(set) var op: Operator
  /// Where the operator stands in the program.
  private(set) var position = -1
  private(set) var steps: [Step] = []
  private(set) var buffers: [PlanBuffer] = []
  private(set) var readBeforeWrite = Set<VariableID>()
  private(set) var persistents: [VariableID: BufferID] = [:]
  private var places: [VariableID: [ImageOrder: BufferID]] = [:]
  /// The order in which a variable was written.
  private var homes: [VariableID: ImageOrder] = [:]
  private var inputBuffers: [Int: BufferID] = [:]
  private var outputBuffers: [Int: BufferID] = [:]
  private var rescueRooms: [VariableID: RescueRoom] = [:]
  private var walk = ImageWalk.rowMajor
  /// The place of the operator that makes each temporary.
  private let makers: [VariableID: Int]

  init(_ device: CUDADevice, program: Program, precision: CUDAPrecision) {
    self.device = device
    self.program = program
    self.precision = precision
    op = program.operators.first!
    makers = Dictionary(
      program.operators.enumerated().flatMap { place, op in
        op.outputs.map { ($0, place) }
      }, uniquingKeysWith: { first, _ in first })
  }

  /// Appends the steps of an operator.
  mutating func lower(_ op: Operator, _ kind: any CUDALowering) throws {
    self.op = op
    position += 1
    inputBuffers = [:]
    outputBuffers = [:]
    walk = kind.walk
    try kind.lower(&self)
  }

  // MARK: What the operator is about

  /// The type of input `index`.
  func inputType(_ index: Int) -> TensorType { program[op.inputs[index]].type }
  /// The type of output `index`.
  func outputType(_ index: Int) -> TensorType { program[op.outputs[index]].type }
  /// The number of inputs.
  var inputCount: Int { op.inputs.count }
  /// The number of outputs.
  var outputCount: Int { op.outputs.count }

  /// The operator that makes input `index`; nil for what is fed or lives in the scope.
  func maker(ofInput index: Int) -> Operator? {
    makers[op.inputs[index]].map { program.operators[$0] }
  }

  /// The order to walk the operator's images in: that in which input `index` stands, where the
  /// operator's walk takes it.
  func order(ofInput index: Int) -> ImageOrder {
    let id = op.inputs[index]
    return place(id, in: homes[id] ?? .rowMajor)
  }

  /// The order in which a variable was written; row-major for what was not yet, or is fed.
  func home(of id: VariableID) -> ImageOrder { homes[id] ?? .rowMajor }

  /// The order that convolutions of NCHW images of this type want: channels last where matrix units
  /// are used.
  func preferredImageOrder(_ type: TensorType) -> ImageOrder {
    guard type.shape.rank == 4 else { return .rowMajor }
    return switch type.dtype {
    case .float16, .bfloat16: .channelsLast
    case .float32: precision == .float32 ? .rowMajor : .channelsLast
    default: .rowMajor
    }
  }

  /// The order to read or write a variable in: row-major where the operator cannot walk the other.
  private func place(_ id: VariableID, in wanted: ImageOrder) -> ImageOrder {
    let shape = program[id].shape
    guard walk.takesChannelsLast(rank: shape.rank) else { return .rowMajor }
    // One channel, or one place a channel: both orders are the same bytes.
    let places = shape.dimensions.dropFirst(2).reduce(1, *)
    return shape[1] == 1 || places == 1 ? .rowMajor : wanted
  }

  // MARK: Arguments

  /// Input `index` in an order, by a step before that changes it where it is another.
  mutating func read(_ index: Int, in wanted: ImageOrder = .rowMajor) throws -> StepArgument {
    let id = op.inputs[index]
    let buffer = try buffer(of: id, in: place(id, in: wanted))
    inputBuffers[index] = buffer
    return .read(buffer)
  }

  /// Output `index` in an order; an output that must overwrite an input is that input, updated.
  mutating func write(_ index: Int, in wanted: ImageOrder = .rowMajor) -> StepArgument {
    let id = op.outputs[index]
    let variable = program[id]
    if variable.isPersistable {
      let buffer = persistentBuffer(id)
      places[id] = [.rowMajor: buffer]
      outputBuffers[index] = buffer
      return op.inputs.contains(id) ? .update(buffer) : .write(buffer)
    }
    let order = place(id, in: wanted)
    let use: BufferUse = op.role == .forward ? .activation : .gradient
    let buffer = addBuffer(named: variable.name, bytes: variable.type.bytes, use: use)
    places[id] = [order: buffer]
    homes[id] = order
    outputBuffers[index] = buffer
    return .write(buffer)
  }

  /// Bytes that only the next step uses; of no value when it starts.
  mutating func scratch(bytes: Int) -> StepArgument {
    .write(intermediate("scratch", bytes: bytes))
  }

  /// Bytes that one step of this operator writes and others read.
  mutating func intermediate(_ name: String, bytes: Int) -> BufferID {
    addBuffer(named: "\(op.layer) \(name)", bytes: max(bytes, 16), use: .scratch)
  }

  /// Whether an operator of the program reads output `index`.
  func isRead(output index: Int) -> Bool {
    let id = op.outputs[index]
    return program.operators.contains { $0.inputs.contains(id) }
  }

  /// Notes where this layer keeps x aside, under output `index`, for the operators that read it.
  mutating func note(_ room: RescueRoom, forOutput index: Int) {
    rescueRooms[op.outputs[index]] = room
  }

  /// What was noted under input `index`.
  ///
  /// - Throws: `ABNError(.program)` where nothing was: a program may hold any operator over any
  ///   variables.
  func rescueRoom(ofInput index: Int) throws -> RescueRoom {
    let id = op.inputs[index]
    guard let found = rescueRooms[id] else {
      throw ABNError(
        .program, "input \(index)", got: "\(quoted(program[id].name))",
        wanted: "what the layer whose gradient this is made",
        fix: "Have differentiation append the operator.")
    }
    return found
  }

  // MARK: Kernels and steps

  /// A kernel of the files of `Resources`.
  func kernel(_ files: [KernelFile], _ entry: String, _ defines: [String] = []) throws -> CUDAKernel
  {
    try device.kernel(KernelSource(files, entry: entry, defines: defines))
  }

  /// A kernel whose text was generated.
  func kernel(generated text: String, _ entry: String) throws -> CUDAKernel {
    try device.kernel(KernelSource(generated: text, entry: entry))
  }

  /// One step of kernels that run one after the other.
  ///
  /// The kind's `may` and `view` rules become in-place hints where this step has both buffers as
  /// arguments in the same order: kernels must be right whether a hint is granted or not.
  mutating func launch(
    _ arguments: [StepArgument], _ launches: [KernelLaunch], detail: String = "", flops: Int = 0,
    purpose: StepPurpose = .work, mayShare: Bool = true, note: String? = nil
  ) {
    step(
      arguments, detail: detail, flops: flops, purpose: purpose, mayShare: mayShare, note: note
    ) { device, pointers in
      for launch in launches { try launch.run(device, pointers) }
    }
  }

  /// One step that puts work on the device's stream: it must not allocate, wait, or look at data.
  mutating func step(
    _ arguments: [StepArgument], detail: String = "", flops: Int = 0,
    purpose: StepPurpose = .work, mayShare: Bool = true, note: String? = nil,
    run: @escaping @Sendable (CUDADevice, StepPointers) throws -> Void
  ) {
    let hints =
      mayShare
      ? op.kind.sharingHints(
        of: arguments, outputs: outputBuffers, inputs: inputBuffers) : []
    let device = device
    steps.append(
      Step(
        name: detail.isEmpty ? op.kindName : "\(op.kindName) \(detail)",
        layer: op.layer, source: op.source, arguments: arguments, sharing: hints,
        purpose: purpose, op: position, flops: flops, note: note
      ) { pointers in try device.streamLock { try run(device, pointers) } })
  }

  /// Throws for an element type that the operator's kernels do not have.
  func unsupported(_ dtype: DType, wanted: String) -> ABNError {
    ABNError(
      .unsupported, "\(op.kindName) on \(device.card.name)", got: "\(dtype)",
      wanted: wanted, fix: "Run this program on the processor.")
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

  /// The bytes of a variable in an order.
  mutating func buffer(of id: VariableID, in order: ImageOrder) throws -> BufferID {
    let variable = program[id]
    if variable.isPersistable && persistents[id] == nil { readBeforeWrite.insert(id) }
    if let known = places[id]?[order] { return known }
    switch variable.role {
    case .parameter, .state: places[id, default: [:]][.rowMajor] = persistentBuffer(id)
    case .data where places[id] == nil:
      let feed = addBuffer(
        named: variable.name, bytes: variable.type.bytes, use: .feed,
        origin: "data (\(variable.source))")
      places[id] = [.rowMajor: feed]
    case .data, .temporary: break
    }
    if let known = places[id]?[order] { return known }
    let home = homes[id] ?? .rowMajor
    guard let source = places[id]?[home] else {
      preconditionFailure("\(variable.name) is read before it is made")
    }
    let target = addBuffer(
      named: "\(variable.name) as \(order)", bytes: variable.type.bytes,
      use: op.role == .forward ? .activation : .gradient)
    places[id]![order] = target
    let step = try ImageReorder(variable.type, to: order).step(
      device, from: source, to: target, op, position)
    steps.append(step)
    return target
  }

  mutating func rowMajorBuffer(of id: VariableID) throws -> BufferID {
    try buffer(of: id, in: .rowMajor)
  }

  /// Marks the row-major bytes of a variable as fetched.
  mutating func fetch(_ id: VariableID) throws -> BufferID {
    let buffer = try buffer(of: id, in: .rowMajor)
    buffers[buffer.index].isFetched = true
    return buffer
  }
}
