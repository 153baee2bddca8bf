import ABNTensors

/// A list, set, dictionary or object of a checkpoint, under construction: a memo may still refer to
/// it.
struct PickleContainer {
  /// The keys of a dictionary, or of an object that is one; nil for a list.
  var keys: [PickleValue]?
  /// The items, one for each key where there are keys.
  var items: [PickleValue] = []
  /// The number of the dictionary that holds an object's attributes.
  var attributes: Int?
  /// Whether it is an instance of a class that is not known.
  var isObject = false
}

/// The imports of checkpoints that stand for something; what any other makes is an object without a
/// meaning.
enum CheckpointGlobal: Hashable {
  /// `OrderedDict`, `defaultdict`, `dict`.
  case dictionary
  /// `tuple`: Paddle saves a tensor as the tuple of its name and its array.
  case tuple
  /// `eval`: Paddle saves a tensor as `eval("data", {"data": array})`.
  case arrayInDictionary
  /// `_rebuild_tensor` and its later versions: storage, offset, shape, strides, ...
  case rebuildTensor
  /// `_rebuild_tensor_v3`: the same, and the element type behind the hooks.
  case rebuildTypedTensor
  /// `Parameter`, `_rebuild_parameter`: the tensor comes first.
  case parameter
  /// `_rebuild_from_type_v2`: function, class, arguments, state.
  case rebuildFromType
  /// `FloatStorage` and its relatives.
  case storage(TorchType)
  /// `torch.float8_e4m3fn` and its relatives.
  case elementType(TorchType)

  init?(module: String, name: String) {
    switch (module, name) {
    case ("collections", "OrderedDict"), ("collections", "defaultdict"), ("__builtin__", "dict"),
      ("builtins", "dict"):
      self = .dictionary
    case ("__builtin__", "tuple"), ("builtins", "tuple"): self = .tuple
    case ("__builtin__", "eval"), ("builtins", "eval"): self = .arrayInDictionary
    case ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2"):
      self = .rebuildTensor
    case ("torch._utils", "_rebuild_tensor_v3"): self = .rebuildTypedTensor
    case ("torch._utils", "_rebuild_parameter"),
      ("torch._utils", "_rebuild_parameter_with_state"), ("torch.nn.parameter", "Parameter"),
      ("torch.nn.parameter", "Buffer"):
      self = .parameter
    case ("torch._tensor", "_rebuild_from_type_v2"): self = .rebuildFromType
    case ("torch", _), ("torch.cuda", _), ("torch.storage", _):
      if let type = TorchType(storage: name) {
        self = .storage(type)
      } else if let type = TorchType(rawValue: name) {
        self = .elementType(type)
      } else {
        return nil
      }
    default: return nil
    }
  }
}

extension PickleReader {
  /// The value at the end of a checkpoint's pickle, which begins at `place`.
  mutating func readCheckpoint() throws -> PickleValue {
    try run()
    guard let value = stack.last else { throw fault("an empty stack", "a value") }
    stack.removeAll()
    marks.removeAll()
    return value
  }

  /// The opcodes that a dictionary of arrays does not have; false for those that no pickle of
  /// protocols 2 to 5 has either.
  mutating func checkpointStep(_ opcode: UInt8) throws -> Bool {
    switch opcode {
    case UInt8(ascii: "}"): try push(PickleContainer(keys: []))
    case UInt8(ascii: "]"), 0x8f: try push(PickleContainer())
    case UInt8(ascii: "l"), 0x91: try push(PickleContainer(items: popMark()))
    case UInt8(ascii: "d"):
      let items = try popMark()
      try push(PickleContainer(keys: []))
      try addEntries(items)
    case UInt8(ascii: "a"):
      let item = try pop(1)
      try addItems(item)
    case UInt8(ascii: "e"), 0x90:
      let items = try popMark()
      try addItems(items)
    case UInt8(ascii: "G"):
      stack.append(.float(Double(bitPattern: try integer(UInt64.self).byteSwapped)))
    case 0x8b:
      stack.append(try longInteger(Int(integer(Int32.self))))
    case UInt8(ascii: "Q"): stack.append(try persistent(pop(1)[0]))
    case 0x81:
      let operands = try pop(2)
      stack.append(try checkpointCall(operands[0], operands[1]))
    case 0x92:
      let operands = try pop(3)
      stack.append(try checkpointCall(operands[0], operands[1]))
    case UInt8(ascii: "0"): _ = try pop(1)
    case UInt8(ascii: "1"): _ = try popMark()
    case UInt8(ascii: "2"):
      let top = try pop(1)[0]
      stack += [top, top]
    default: return false
    }
    return true
  }

  /// The import of a name: one that is known, else an object without a meaning.
  func checkpointImport(_ module: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> PickleValue {
    let mostBytes = 256
    guard module.count + name.count <= mostBytes else { return .opaque }
    let (module, name) = (
      String(decoding: module, as: UTF8.self), String(decoding: name, as: UTF8.self)
    )
    if let global = PickleGlobal(rawValue: "\(module) \(name)") { return .global(global) }
    return CheckpointGlobal(module: module, name: name).map { .checkpointGlobal($0) } ?? .opaque
  }

  /// What a call gives: a tensor, an array, a dictionary; else an object, and nothing is called.
  mutating func checkpointCall(
    _ function: PickleValue, _ arguments: PickleValue
  ) throws -> PickleValue {
    guard case .tuple(let tuple) = arguments else { return try newObject() }
    let items = tuple.items
    switch function {
    case .global:
      // What numpy would refuse, or this reader does not read, is no array.
      do { return try reduce(function, arguments) } catch let error as ABNError {
        let array = PickleArray()
        array.failure = error
        return .array(array)
      }
    case .checkpointGlobal(.dictionary): return try newDictionary(items)
    case .checkpointGlobal(.tuple):
      if items.count == 1, case .tuple = items[0] { return items[0] }
    case .checkpointGlobal(.arrayInDictionary):
      if items.count == 2, case .container(let number) = items[1],
        containers[number].items.count == 1, case .array = containers[number].items[0]
      {
        return containers[number].items[0]
      }
    case .checkpointGlobal(.rebuildTensor): return try tensor(items, type: nil)
    case .checkpointGlobal(.rebuildTypedTensor):
      guard items.count >= 7, case .checkpointGlobal(.elementType(let type)) = items[6] else {
        break
      }
      return try tensor(items, type: type)
    case .checkpointGlobal(.parameter):
      if case .tensor? = items.first { return items[0] }
    case .checkpointGlobal(.rebuildFromType):
      if items.count >= 3, case .checkpointGlobal(let inner) = items[0],
        inner != .rebuildFromType
      {
        return try checkpointCall(items[0], items[2])
      }
    default: break
    }
    return try newObject()
  }

  /// Completes an array or element type, or gives an object its attributes.
  mutating func setCheckpointState(_ target: PickleValue, _ state: PickleValue) throws {
    switch target {
    case .container(let number) where containers[number].isObject:
      var state = state
      // Attributes, and those that a class has places for.
      if case .tuple(let tuple) = state, let first = tuple.items.first { state = first }
      if case .container(let attributes) = state { containers[number].attributes = attributes }
    case .array(let array) where array.failure == nil:
      do { try setState(target, state) } catch let error as ABNError { array.failure = error }
    case .dtype:
      // An array of an element type without byte order cannot be read.
      do { try setState(target, state) } catch is ABNError {}
    default: break
    }
  }

  /// Adds keys and values in turn to the dictionary, or object, on top of the stack.
  mutating func addEntries(_ items: [PickleValue]) throws {
    guard case .container(let number)? = stack.last, stack.count > (marks.last ?? 0),
      containers[number].keys != nil
    else { throw fault(stack.last?.name ?? "an empty stack", "a dictionary") }
    guard items.count % 2 == 0 else { throw fault("\(items.count) items", "pairs") }
    for pair in stride(from: 0, to: items.count, by: 2) {
      containers[number].keys?.append(items[pair])
      containers[number].items.append(items[pair + 1])
    }
  }

  /// Adds items to the list, or object, on top of the stack.
  private mutating func addItems(_ items: [PickleValue]) throws {
    guard stack.count > (marks.last ?? 0) else { throw fault("an empty stack", "a list") }
    guard case .container(let number)? = stack.last else {
      throw fault(stack.last?.name ?? "an empty stack", "a list")
    }
    if containers[number].keys == nil { containers[number].items += items }
  }

  private mutating func push(_ container: PickleContainer) throws {
    stack.append(try made(container))
  }

  private mutating func made(_ container: PickleContainer) throws -> PickleValue {
    containers.append(container)
    let most = 256 + bytes.count / 4
    guard containers.count <= most else {
      throw fault("\(containers.count) lists and dictionaries by byte \(at)", "at most \(most)")
    }
    return .container(containers.count - 1)
  }

  private mutating func newObject() throws -> PickleValue {
    try made(PickleContainer(keys: [], isObject: true))
  }

  /// A dictionary, of the pairs that Python 2 hands over as a list.
  private mutating func newDictionary(_ items: [PickleValue]) throws -> PickleValue {
    var made = PickleContainer(keys: [])
    if items.count == 1, case .container(let number) = items[0] {
      for item in containers[number].items {
        let pair: [PickleValue]
        switch item {
        case .container(let inner): pair = containers[inner].items
        case .tuple(let tuple): pair = tuple.items
        default: pair = []
        }
        guard pair.count == 2 else { break }
        made.keys?.append(pair[0])
        made.items.append(pair[1])
      }
    }
    return try self.made(made)
  }

  /// ("storage", class, key, place, number of elements, ...): where the elements of tensors stand.
  private mutating func persistent(_ value: PickleValue) throws -> PickleValue {
    guard case .tuple(let tuple) = value, tuple.items.count >= 5,
      try text(tuple.items[0])?.elementsEqual("storage".utf8) == true
    else { return .opaque }
    guard case .checkpointGlobal(.storage(let type)) = tuple.items[1],
      let key = try text(tuple.items[2]), case .integer(0...) = tuple.items[4]
    else { return .opaque }
    var view = 0
    if tuple.items.count > 5, case .tuple(let place) = tuple.items[5] {
      // A part of a storage, before 0.4: key, first element, number of elements.
      guard place.items.count == 3, case .integer(let first) = place.items[1], first >= 0 else {
        return .opaque
      }
      view = first
    }
    let mostBytes = 256
    guard key.count <= mostBytes else { return .opaque }
    let name = try String.checked(key) { fault($0, $1) }
    let storage = TorchStorage(key: name, type: type, first: view)
    storages[name] = storage
    return .storage(storage)
  }

  /// The tensor of storage, first element, shape and strides; an object where they are something
  /// else.
  private mutating func tensor(_ items: [PickleValue], type: TorchType?) throws -> PickleValue {
    guard items.count >= 4, case .storage(let storage) = items[0],
      case .integer(let first) = items[1],
      first >= 0, let shape = numbers(items[2]), let strides = numbers(items[3]),
      shape.count == strides.count
    else { return try newObject() }
    return .tensor(
      TorchTensor(
        storage: storage, type: type ?? storage.type, first: first, shape: shape, strides: strides,
        at: at))
  }

  private func numbers(_ value: PickleValue) -> [Int]? {
    guard case .tuple(let tuple) = value, tuple.items.count <= source.limits.mostDimensions else {
      return nil
    }
    let numbers = tuple.items.compactMap { item -> Int? in
      if case .integer(let number) = item, number >= 0 { number } else { nil }
    }
    return numbers.count == tuple.items.count ? numbers : nil
  }

  /// The bytes of a text.
  func text(_ value: PickleValue) throws -> ArraySlice<UInt8>? {
    switch value {
    case .text(let opcode), .raw(let opcode): bytes[try range(ofStringAt: opcode)]
    default: nil
    }
  }
}
