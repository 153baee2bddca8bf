extension JSON {
  /// An `Encodable` value; the members of its objects are sorted by their names, so that equal
  /// values give equal texts. Members that are nil are left out where the value leaves them out.
  package init(encoding value: some Encodable) throws {
    self = try JSONTree.value(of: value)
  }
}

/// A value as it grows: what an encoder's containers write into.
private final class JSONTree: Encoder {
  private enum Kind {
    case value(JSON)
    case array, object
  }

  // A type that encodes nothing is an empty object, as Foundation has it.
  private var kind = Kind.object
  private var elements: [JSONTree] = []
  private var members: [String: JSONTree] = [:]
  let codingPath: [any CodingKey]
  let userInfo: [CodingUserInfoKey: Any] = [:]

  init(_ path: [any CodingKey] = []) { codingPath = path }

  static func value(of value: some Encodable) throws -> JSON {
    let tree = JSONTree()
    try tree.encode(value)
    return tree.json
  }

  var json: JSON {
    switch kind {
    case .value(let value): value
    case .array: .array(elements.map(\.json))
    case .object: .object(members.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) })
    }
  }

  func set(_ value: JSON) { kind = .value(value) }

  func encode(_ value: some Encodable) throws { try value.encode(to: self) }

  /// A new member, or the one that is there: a value may encode itself in several containers.
  func member(_ key: any CodingKey) -> JSONTree {
    if let known = members[key.stringValue] { return known }
    let tree = JSONTree(codingPath + [key])
    members[key.stringValue] = tree
    return tree
  }

  var count: Int { elements.count }

  func element() -> JSONTree {
    elements.append(JSONTree(codingPath))
    return elements[elements.count - 1]
  }

  func container<Key>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    kind = .object
    return KeyedEncodingContainer(Members<Key>(tree: self))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    kind = .array
    return Elements(tree: self)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { Single(tree: self) }

  private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let tree: JSONTree
    var codingPath: [any CodingKey] { tree.codingPath }

    func encodeNil(forKey key: Key) { tree.member(key).set(.null) }

    func encode(_ value: some Encodable, forKey key: Key) throws {
      try tree.member(key).encode(value)
    }

    func nestedContainer<Nested>(
      keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { tree.member(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
      tree.member(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { tree }
    func superEncoder(forKey key: Key) -> any Encoder { tree.member(key) }
  }

  private struct Elements: UnkeyedEncodingContainer {
    let tree: JSONTree
    var codingPath: [any CodingKey] { tree.codingPath }
    var count: Int { tree.count }

    func encodeNil() { tree.element().set(.null) }
    func encode(_ value: some Encodable) throws { try tree.element().encode(value) }

    func nestedContainer<Nested>(
      keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> { tree.element().container(keyedBy: type) }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
      tree.element().unkeyedContainer()
    }

    func superEncoder() -> any Encoder { tree.element() }
  }

  /// Where every value ends: numbers, texts and booleans encode themselves here.
  private struct Single: SingleValueEncodingContainer {
    let tree: JSONTree
    var codingPath: [any CodingKey] { tree.codingPath }

    func encodeNil() { tree.set(.null) }
    func encode(_ value: Bool) { tree.set(.bool(value)) }
    func encode(_ value: String) { tree.set(.string(value)) }
    func encode(_ value: Double) { tree.set(.number(value)) }
    // By its own shortest spelling, not by that of the nearest double.
    func encode(_ value: Float) { tree.set(value.isFinite ? .literal("\(value)") : .null) }
    func encode(_ value: Int) { tree.set(.integer(value)) }
    func encode(_ value: Int8) { tree.set(.integer(value)) }
    func encode(_ value: Int16) { tree.set(.integer(value)) }
    func encode(_ value: Int32) { tree.set(.integer(value)) }
    func encode(_ value: Int64) { tree.set(.integer(value)) }
    func encode(_ value: UInt) { tree.set(.integer(value)) }
    func encode(_ value: UInt8) { tree.set(.integer(value)) }
    func encode(_ value: UInt16) { tree.set(.integer(value)) }
    func encode(_ value: UInt32) { tree.set(.integer(value)) }
    func encode(_ value: UInt64) { tree.set(.integer(value)) }
    func encode(_ value: some Encodable) throws { try tree.encode(value) }
  }
}
