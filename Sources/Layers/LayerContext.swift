import ABNGraph
import ABNOperators
import ABNTensors

/// What every layer needs: the programs it appends to, its name, and the user's source line.
struct LayerContext {
  let builder: ProgramBuilder
  let name: String
  /// Whether the caller gave the name.
  let isNamed: Bool
  let source: SourceLocation

  /// A context for a layer of this kind; the name is made up where none is given.
  init(_ kind: String, name: String? = nil, source: SourceLocation) {
    builder = .current
    self.name = builder.layerName(name, kind: kind)
    isNamed = name != nil
    self.source = source
  }

  /// Appends an operator to the main program.
  func append(_ kind: any OperatorKind, _ inputs: [Variable]) throws -> [Variable] {
    try builder.append(kind, inputs, layer: name, source: source)
  }

  /// Appends an operator with one output.
  func append(_ kind: any OperatorKind, _ inputs: Variable...) throws -> Variable {
    try append(kind, inputs)[0]
  }

  /// Makes a parameter and its initialization.
  ///
  /// - Parameters:
  ///   - suffix: `w` or `b`: names the parameter `<layer>.w_<n>` where the attribute does not.
  ///   - initializer: the layer's choice where the attribute has none.
  /// - Throws: `ABNError(.attribute)` for `ParamAttr.absent`: a layer that can do without asks
  ///   before.
  func parameter(
    _ attribute: ParamAttr, suffix: String, shape: Shape, dtype: DType,
    initializer: Initializer
  ) throws -> Variable {
    guard !attribute.isAbsent else {
      throw error(
        .attribute, "parameter \(quoted(suffix))", got: "ParamAttr.absent",
        wanted: "another ParamAttr, or nil",
        fix: "The layer cannot do without it: set trainable to false to leave it as it is.")
    }
    return try persistable(
      named: attribute.name, suffix: suffix, TensorType(shape, dtype),
      .parameter(attribute.traits), attribute.initializer ?? initializer)
  }

  /// A parameter for an operator in `dtype`: kept in `dtype.accumulation`, and cast where that is
  /// another type (float32 for the 16-bit types, so that small updates are not rounded away).
  func weight(
    _ attribute: ParamAttr, suffix: String, shape: Shape, dtype: DType,
    initializer: Initializer
  ) throws -> Variable {
    let kept = try parameter(
      attribute, suffix: suffix, shape: shape, dtype: dtype.accumulation,
      initializer: initializer)
    return kept.dtype == dtype ? kept : try append(Cast(to: dtype), kept)
  }

  /// Makes a persistable and its initialization; its name is made up where none is given.
  func persistable(
    named given: String? = nil, suffix: String, _ type: TensorType, _ role: VariableRole,
    _ initializer: Initializer
  ) throws -> Variable {
    let kind = try initializer.kind(for: type, builder: builder)
    return try builder.addPersistable(
      named: given ?? builder.ownedName(layer: name, suffix: suffix),
      type: type, role: role, initializer: kind, layer: name, source: source,
      isNameMadeUp: given == nil && !isNamed)
  }

  /// An error at the user's line.
  func error(
    _ category: ABNError.Category, _ what: String, got: String, wanted: String, fix: String = ""
  ) -> ABNError {
    ABNError(category, "\(what) of \(quoted(name))", at: source, got: got, wanted: wanted, fix: fix)
  }
}

/// Runs a layer's body; errors without a place get the layer's name and source line.
func layer<R>(
  _ kind: String, name: String? = nil, file: StaticString, line: UInt,
  _ body: (LayerContext) throws -> R
) throws -> R {
  try layer(kind, name: name, source: SourceLocation(fileID: file, line: line), body)
}

/// The same at a source line that is known.
func layer<R>(
  _ kind: String, name: String? = nil, source: SourceLocation,
  _ body: (LayerContext) throws -> R
) throws -> R {
  let context = LayerContext(kind, name: name, source: source)
  do {
    return try body(context)
  } catch let error as ABNError {
    throw error.located(in: "\(kind) \(quoted(context.name))", at: context.source)
  }
}
