extension CheckCase {
  static func graphCases() -> [CheckCase] { [] }
}
