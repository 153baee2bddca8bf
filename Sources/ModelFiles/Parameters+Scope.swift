import ABNFormats
import ABNGraph
import ABNRuntime
import ABNTensors

/// Saves the parameters of a program in the files of Paddle 1.8: one file a variable, or one file
/// for all. The moving statistics of normalizations are parameters, an optimizer's state is not.
///
/// - Parameters:
///   - program: says which variables, and of which type.
///   - scope: holds the values.
///   - directory: the folder; it is made where there is none.
///   - filename: the one file for all, inside the folder; nil: a file a variable.
/// - Throws: `ABNError(.name)` for a program without parameters, a value that the scope does not
///   have, or a variable whose name is no file's; `ABNError(.shape)` or `ABNError(.dtype)` for a
///   value of another type than the program's; `ABNError(.file)` where a file cannot be written.
///
/// Source: `paddle.fluid.io.save_params`.
public func saveParams(
  _ program: Program, _ scope: Scope, to directory: String, filename: String? = nil
) throws {
  try save(program.parameters, scope, to: directory, filename: filename, what: "saveParams")
}

/// Saves all persistables of a program: parameters, and the state of optimizers, schedules and
/// averages. With them training continues where it stopped.
///
/// - Throws: as `saveParams`.
///
/// Source: `paddle.fluid.io.save_persistables`.
public func savePersistables(
  _ program: Program, _ scope: Scope, to directory: String, filename: String? = nil
) throws {
  try save(program.persistables, scope, to: directory, filename: filename, what: "savePersistables")
}

/// Loads the parameters of a program by name from the files of Paddle 1.8; files of other names are
/// left alone. Values in float16 become the same numbers in the variable's type. The scope stays as
/// it was where an error is thrown.
///
/// - Parameters:
///   - program: says which variables, and of which type.
///   - scope: gets the values.
///   - directory: the folder that the files are in.
///   - filename: the one file for all, inside the folder; it holds exactly these variables. nil: a
///     file a variable.
/// - Throws: `ABNError(.name)` for a program without parameters, `ABNError(.shape)` or
///   `ABNError(.dtype)` for a variable whose file holds another shape, or an element type whose
///   values its own does not hold, with its name; `ABNError(.file)` for files that are missing or
///   damaged or hold another number of
///   variables.
///
/// Source: `paddle.fluid.io.load_params`.
public func loadParams(
  _ program: Program, _ scope: Scope, from directory: String, filename: String? = nil
) throws {
  try load(program.parameters, scope, from: directory, filename: filename, what: "loadParams")
}

/// Loads all persistables of a program: what `savePersistables` saved.
///
/// A constant learning rate is one of them, as in the original (`learning_rate_<n>`): that of the
/// file counts from then on. A combined file that was saved with it has one variable more than a
/// program without the optimizer: read it with `PaddleParameters.readCombined` and
/// `setProgramState`.
///
/// - Throws: as `loadParams`.
///
/// Source: `paddle.fluid.io.load_persistables`.
public func loadPersistables(
  _ program: Program, _ scope: Scope, from directory: String, filename: String? = nil
) throws {
  try load(
    program.persistables, scope, from: directory, filename: filename, what: "loadPersistables")
}

/// Puts values into a scope under the names that the program's persistables have, those of a
/// `.pdparams` file (`PaddleParameters.readPickle`), say. Values in float16 or bfloat16 become the
/// same numbers in float32. Persistables without a value in `state` keep theirs. The scope stays as
/// it was where an error is thrown.
///
/// - Returns: the names in `state` that the program does not have, sorted.
/// - Throws: `ABNError(.shape)` or `ABNError(.dtype)` for a value of another type than the
///   program's, with its name.
///
/// Source: `paddle.fluid.io.set_program_state`.
@discardableResult
public func setProgramState(
  _ program: Program, _ scope: Scope, to state: [String: Tensor]
) throws -> [String] {
  let wanted = program.persistables.filter { state[$0.name] != nil }
  let values = try wanted.map {
    try fitted(state[$0.name]!, to: $0, what: "setProgramState")
  }
  for (variable, value) in zip(wanted, values) { scope[variable.name] = value }
  return Set(state.keys).subtracting(wanted.map(\.name)).sorted()
}

private func save(
  _ variables: [Variable], _ scope: Scope, to directory: String, filename: String?, what: String
) throws {
  try requireSome(variables, what)
  var values: [String: Tensor] = [:]
  for variable in variables {
    guard let value = scope[variable.name] else {
      throw ABNError(
        .name, "\(what): \(quoted(variable.name))", got: "no value in the scope",
        wanted: "a value of \(variable.type)", fix: "Run the startup program first.")
    }
    try check(value, fits: variable, what: what)
    values[variable.name] = value
  }
  if let filename {
    try PaddleParameters.writeCombined(values, to: "\(directory)/\(filename)")
  } else {
    try PaddleParameters.writeDirectory(values, to: directory)
  }
}

private func load(
  _ variables: [Variable], _ scope: Scope, from directory: String, filename: String?, what: String
) throws {
  try requireSome(variables, what)
  let names = variables.map(\.name)
  let values =
    if let filename {
      try PaddleParameters.readCombined("\(directory)/\(filename)", names: names)
    } else {
      try PaddleParameters.readDirectory(directory, names: names)
    }
  let fitting = try variables.map {
    try fitted(
      values[$0.name]!, to: $0, what: "\(what) from \(quoted(directory))",
      fix: filename == nil
        ? "" : "A file for all has no names: it must hold exactly the program's variables.")
  }
  for (variable, value) in zip(variables, fitting) { scope[variable.name] = value }
}

/// The value in the variable's element type, where that holds it exactly.
private func fitted(
  _ value: Tensor, to variable: Variable, what: String, fix: String = ""
) throws -> Tensor {
  let widened = value.widened(to: variable.dtype) ?? value
  try check(widened, fits: variable, what: what, fix: fix)
  return widened
}

private func requireSome(_ variables: [Variable], _ what: String) throws {
  guard variables.isEmpty else { return }
  throw ABNError(
    .name, what, got: "a program without such variables", wanted: "at least one",
    fix: "Pass the main program after its layers have been made.")
}

private func check(
  _ value: Tensor, fits variable: Variable, what: String, fix: String = ""
) throws {
  guard value.shape == variable.shape else {
    throw ABNError(
      .shape, "\(what): \(quoted(variable.name))", got: "\(value.shape)",
      wanted: "\(variable.shape), as made at \(variable.source)", fix: fix)
  }
  guard value.dtype == variable.dtype else {
    throw ABNError(
      .dtype, "\(what): \(quoted(variable.name))", got: "\(value.dtype)",
      wanted: "\(variable.dtype), as made at \(variable.source)", fix: fix)
  }
}
