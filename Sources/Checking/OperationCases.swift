extension CheckCase {
  static func operationCases() -> [CheckCase] { [] }
}
