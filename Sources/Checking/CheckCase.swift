import ABNGraph
import ABNTensors

/// What cases are about.
package enum CheckGroup: String, Sendable, CaseIterable {
  /// `inplaceABN` and `batchNorm`.
  case layer
  /// Every other layer function with its gradient.
  case operations
  /// Random graphs with in-place layers anywhere.
  case graphs
  /// Training steps of networks.
  case models
}

/// How far a result may be from the reference.
package struct CheckBound: Sendable {
  /// What an error is divided by.
  package enum Measure: String, Sendable {
    /// The largest magnitude of the tensor, or of the channel where the case says which axis that
    /// is.
    case largest
    /// The root of the mean square of the tensor, of the error too: where rounding may turn a
    /// single element around, as the winner of a pooling.
    case rootMeanSquare
  }
  package var value: Double
  package var measure: Measure
  /// The bound where a float32 program's products round their inputs, in units of that rounding.
  package var unitsOfProducts: Double
  /// What an error is divided by at least: for tensors that are zero but for rounding.
  package var least: Double

  package init(
    _ value: Double, _ measure: Measure = .largest, least: Double = 0, unitsOfProducts: Double = 8
  ) {
    self.value = value
    self.measure = measure
    self.least = least
    self.unitsOfProducts = unitsOfProducts
  }
}

/// The element types in which a case is built.
package struct CheckTypes: Sendable {
  /// That of its floating-point data.
  package let data: DType
  /// The type that a float64 program rounds every value to where it is made; nil: none.
  package let stored: DType?
}

/// A program with all that a run of it needs.
package struct CheckProgram {
  /// Something that is compared.
  package struct Result {
    package let label: String
    package let variable: Variable
    /// The axis of channels, each of which has to be right by itself.
    package var axis: Int? = nil
  }

  package var startup = Program()
  package var main = Program()
  package var results: [Result] = []
  package var feed: [String: Tensor] = [:]
  /// Values in place of those of the startup program.
  package var values: [String: Tensor] = [:]
  /// Parameters and state that are compared after the last step.
  package var states: [String] = []
}

/// One program and how close a backend must come to the float64 run of it.
package struct CheckCase: Sendable {
  package let group: CheckGroup
  package let name: String
  package let dtype: DType
  package var layout: DataLayout?
  /// An executor records a program's steps at its second run, so that three runs hold one before,
  /// one while and one after.
  package var steps = 3
  /// Of what is fetched.
  package let bound: CheckBound
  /// Of parameters and state after the last step.
  package let stateBound: CheckBound
  /// Whether rounding inside of products may turn an element at a kink around that then counts:
  /// such a case says nothing where float32 products round their inputs.
  package var needsExactProducts = false
  /// Builds the program in these types; its parameters have the same names in all types.
  package let build: @Sendable (CheckTypes) throws -> CheckProgram

  package init(
    _ group: CheckGroup, _ name: String, _ dtype: DType, layout: DataLayout? = nil, steps: Int = 3,
    bound: CheckBound, stateBound: CheckBound? = nil, needsExactProducts: Bool = false,
    build: @escaping @Sendable (CheckTypes) throws -> CheckProgram
  ) {
    self.group = group
    self.name = name
    self.dtype = dtype
    self.layout = layout
    self.steps = steps
    self.bound = bound
    self.stateBound = stateBound ?? bound
    self.needsExactProducts = needsExactProducts
    self.build = build
  }

  /// All cases of some groups.
  package static func all(_ groups: [CheckGroup] = CheckGroup.allCases) -> [CheckCase] {
    groups.flatMap { group in
      switch group {
      case .layer: layerCases()
      case .operations: operatorCases()
      case .graphs: graphCases()
      case .models: modelCases()
      }
    }
  }
}

extension DType {
  /// Half an ulp of 1.
  package var unitOfRounding: Double {
    switch self {
    case .float16: 0x1p-11
    case .bfloat16: 0x1p-8
    case .float32: 0x1p-24
    default: 0x1p-53
    }
  }

  /// Whether it is one of the two floating-point types of 16 bits.
  package var isNarrow: Bool { self == .float16 || self == .bfloat16 }
}
