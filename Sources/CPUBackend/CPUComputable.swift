import ABNGraph
import ABNRuntime
import ABNTensors

/// A kind of operator from outside this package: what the processor computes for it is a function
/// over plain arrays.
///
/// ```swift
/// extension Clamp: CPUComputable {
///   func compute(_ operands: CPUOperands) throws {
///     let (x, y) = (try operands.input(0, as: Float.self), try operands.output(0, as: Float.self))
///     for i in x.indices { y[i] = min(max(x[i], low), high) }
///   }
/// }
/// ```
///
/// `Examples/OwnOperator` is a whole one, with its gradient and a layer.
public protocol CPUComputable: OperatorKind {
  /// Computes all elements of the outputs.
  ///
  /// Called once a run, from the thread of the run; several runs may be under way at once. Under a
  /// sharing rule `.may` or `.view` an output may be in the bytes of its input: read each element
  /// before it is written, and write all of them. Under `.must` it is, and holds the old value.
  ///
  /// - Throws: what the run then throws, with the place of the operator.
  func compute(_ operands: CPUOperands) throws
}

/// The operands of one run of a `CPUComputable`: row-major arrays, valid until `compute` returns.
public struct CPUOperands {
  /// The types of the inputs. float16 and bfloat16 are float32 here: they are converted before and
  /// after.
  public let inputTypes: [TensorType]
  /// The types of the outputs, likewise.
  public let outputTypes: [TensorType]
  let pointers: StepPointers

  /// The elements of input `index`.
  ///
  /// - Throws: `ABNError(.dtype)` where they are of another type; `.program` for an input that is
  ///   not there.
  public func input<T: TensorScalar>(
    _ index: Int, as scalar: T.Type
  ) throws -> UnsafeBufferPointer<T> {
    let count = try count(index, of: inputTypes, "input", scalar)
    return UnsafeBufferPointer(start: pointers(index, as: scalar), count: count)
  }

  /// The elements of output `index`, of no value yet but where a sharing rule says so.
  ///
  /// - Throws: as `input`.
  public func output<T: TensorScalar>(
    _ index: Int, as scalar: T.Type
  ) throws -> UnsafeMutableBufferPointer<T> {
    let count = try count(index, of: outputTypes, "output", scalar)
    return UnsafeMutableBufferPointer(
      start: pointers(inputTypes.count + index, as: scalar), count: count)
  }

  private func count<T: TensorScalar>(
    _ index: Int, of types: [TensorType], _ what: String, _ scalar: T.Type
  ) throws -> Int {
    guard types.indices.contains(index) else {
      throw ABNError(
        .program, "operands", got: "\(what) \(index)",
        wanted: "one of the \(types.count) that inferTypes was given or gave, counted from 0",
        fix: "Count inputs and outputs each for themselves.")
    }
    guard types[index].dtype == T.dtype else {
      throw ABNError(
        .dtype, "\(what) \(index)", got: "\(T.dtype)", wanted: "\(types[index].dtype)",
        fix: "Ask for the type that inputTypes or outputTypes has.")
    }
    return types[index].shape.elementCount
  }
}

/// One step, over everything in row-major order.
struct ComputableLowering: CPULowering {
  let kind: any CPUComputable

  func lower(_ c: inout LoweringContext) throws {
    let inputs = (0..<c.inputCount).map { c.inputType($0) }
    let outputs = (0..<c.outputCount).map { c.outputType($0) }
    let arguments = try inputs.indices.map { try c.read($0) } + outputs.indices.map { c.write($0) }
    c.step(arguments) { [kind] pointers in
      try kind.compute(CPUOperands(inputTypes: inputs, outputTypes: outputs, pointers: pointers))
    }
  }
}
