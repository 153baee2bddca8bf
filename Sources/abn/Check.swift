import ABNChecking
import ArgumentParser
import Foundation
import InPlaceABN

/// Compares a device with float64 runs on the processor.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares results with float64 on the processor.",
    discussion: """
      Ends with 1 where a result is further away than its bound, has other bits when it is \
      computed again, or cannot be computed on the device.
      """)

  @OptionGroup var target: DeviceOptions
  @Option(
    help: ArgumentHelp(
      "Cases of this group alone: layer, operations, graphs or models; may be given repeatedly.",
      valueName: "name"))
  var group: [String] = []
  @Option(
    name: .customLong("case"),
    help: ArgumentHelp(
      "Cases whose line contains this, as \"elu\" or \"bf16 NHWC\".", valueName: "text"))
  var text = ""
  @Option(
    help: ArgumentHelp(
      "One part of the cases, as 2/8: for several processes, which share the kernels that they compile.",
      valueName: "part"))
  var part = "1/1"
  @OptionGroup var common: CommonOptions

  private struct Result: Encodable {
    let device: String
    let precision: String
    let seconds: Double
    let passed: Int
    let failed: Int
    let refused: Int
    let rows: [CheckRow]
  }

  func run() throws {
    try common.apply()
    let groups = try group.map { name in
      guard let found = CheckGroup(rawValue: name) else {
        throw ABNError(unknown: name, "--group", names: CheckGroup.allCases.map(\.rawValue))
      }
      return found
    }
    let runner = try target.checkRunner()
    let chosen = CheckCase.all(groups.isEmpty ? CheckGroup.allCases : groups).filter {
      runner.applies($0)
        && (text.isEmpty || $0.line.localizedCaseInsensitiveContains(text))
    }
    let (index, count) = try parts()
    let cases = chosen.enumerated().filter { $0.offset % count == index }.map(\.element)
    guard !chosen.isEmpty else {
      throw ABNError(
        .name, "--case \(quoted(text))", got: "no case whose line contains it",
        wanted: "a part of a line that abn check prints", fix: "Leave it out to see all lines.")
    }
    let start = ContinuousClock.now
    var rows: [CheckRow] = []
    if !common.json { print(CheckRow.heading) }
    for test in cases {
      rows.append(runner.run(test))
      if !common.json { print(rows.last!.line) }
    }
    let result = Result(
      device: target.device, precision: target.precision,
      seconds: (ContinuousClock.now - start) / .seconds(1),
      passed: rows.count { $0.verdict == .pass }, failed: rows.count { $0.verdict == .fail },
      refused: rows.count { $0.verdict == .refused }, rows: rows)
    if common.json {
      try printJSON(result)
    } else {
      for row in rows where row.verdict != .pass { print("\n\(row.details)") }
      print(
        "\n\(result.passed) passed, \(result.failed) failed, \(result.refused) refused, "
          + String(format: "%.1f s", result.seconds))
    }
    if result.passed < rows.count { throw ExitCode(1) }
  }

  /// Which part, from 0 on, of how many.
  private func parts() throws -> (index: Int, count: Int) {
    let numbers = part.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let index = numbers[0], let count = numbers[1], count >= 1,
      (1...count).contains(index)
    else {
      throw ABNError(
        .attribute, "--part", got: quoted(part), wanted: "a number and how many there are, as 2/8")
    }
    return (index - 1, count)
  }
}

extension DeviceOptions {
  /// What runs the cases here.
  fileprivate func checkRunner() throws -> CheckRunner {
    let units: [CUDAPrecision: Double] = [
      .tf32: 0x1p-11, .bfloat16: DType.bfloat16.unitOfRounding,
    ]
    let unit = units[try chosenPrecision()]
    // The processor rounds as the card does, by the same pass.
    let isLowered = !isCard && precision == CUDAPrecision.bfloat16.rawValue
    let own: any Backend =
      isLowered
      ? CPUBackend(
        passes: [LowerPrecision(to: .bfloat16)] + memoryPasses + trainingPasses + inferencePasses)
      : try backend()
    return CheckRunner(own, reference: CPUBackend(), unitOfProducts: unit)
  }
}
