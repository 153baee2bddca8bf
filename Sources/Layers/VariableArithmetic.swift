import ABNGraph
import ABNOperators
import ABNTensors

/// Arithmetic as it is written: `try (x - mean) / deviation * 2`.
///
/// Two variables broadcast as in NumPy, aligned at the right; `elementwiseAdd` and its like have
/// Paddle's `axis`. A number that is divided by, or divided, is rounded to the element type; of the
/// other operators only the result is. An operator sign cannot know its own line: errors and
/// reports name the line that made the later one of its operands.
///
/// - Throws: `ABNError(.dtype)` for element types that differ or are not floating point, `.shape`
///   for shapes that do not broadcast.
extension Variable {
  /// x + y, elementwise.
  public static func + (x: Variable, y: Variable) throws -> Variable {
    try joined(.add, x, y)
  }
  /// x + number.
  public static func + (x: Variable, number: Double) throws -> Variable {
    try scaled(x, bias: number)
  }
  /// number + x.
  public static func + (number: Double, x: Variable) throws -> Variable {
    try scaled(x, bias: number)
  }
  /// x - y, elementwise.
  public static func - (x: Variable, y: Variable) throws -> Variable {
    try joined(.subtract, x, y)
  }
  /// x - number.
  public static func - (x: Variable, number: Double) throws -> Variable {
    try scaled(x, bias: -number)
  }
  /// number - x.
  public static func - (number: Double, x: Variable) throws -> Variable {
    try scaled(x, by: -1, bias: number)
  }
  /// x * y, elementwise.
  public static func * (x: Variable, y: Variable) throws -> Variable {
    try joined(.multiply, x, y)
  }
  /// x * number.
  public static func * (x: Variable, number: Double) throws -> Variable {
    try scaled(x, by: number)
  }
  /// number * x.
  public static func * (number: Double, x: Variable) throws -> Variable {
    try scaled(x, by: number)
  }
  /// x / y, elementwise.
  public static func / (x: Variable, y: Variable) throws -> Variable {
    try joined(.divide, x, y)
  }
  /// x / number.
  public static func / (x: Variable, number: Double) throws -> Variable {
    try divided(x, by: number)
  }
  /// number / x.
  public static func / (number: Double, x: Variable) throws -> Variable {
    try divided(number, by: x)
  }

  private static func joined(
    _ function: Elementwise.Function, _ x: Variable, _ y: Variable
  ) throws -> Variable {
    try layer(function.rawValue, source: (x.id < y.id ? y : x).source) { c in
      try c.append(Elementwise(function), x, y)
    }
  }

  private static func scaled(
    _ x: Variable, by factor: Double = 1, bias: Double = 0
  ) throws -> Variable {
    try layer(Scale.kindName, source: x.source) { c in
      try c.append(Scale(factor: factor, bias: bias), x)
    }
  }

  // Divided, not multiplied with a reciprocal that is rounded.
  private static func divided(_ x: Variable, by number: Double) throws -> Variable {
    try layer(Elementwise.Function.divide.rawValue, source: x.source) { c in
      try c.append(Elementwise(.divide), x, constant(number, like: x, in: c))
    }
  }

  private static func divided(_ number: Double, by x: Variable) throws -> Variable {
    try layer(Elementwise.Function.divide.rawValue, source: x.source) { c in
      try c.append(Elementwise(.divide), constant(number, like: x, in: c), x)
    }
  }

  /// One element, which broadcasts to every shape.
  private static func constant(
    _ number: Double, like x: Variable, in c: LayerContext
  ) throws -> Variable {
    let type = TensorType(x.shape.rank == 0 ? [] : [1], x.dtype)
    return try c.append(FillConstant(number, type: type), [])[0]
  }
}
