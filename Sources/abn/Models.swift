import ArgumentParser
import Foundation
import InPlaceABN

struct Models: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the networks: parameters, multiply-adds, planned memory.",
    discussion: """
      Parameters are those that are trained. Multiply-adds are those of the convolutions and \
      products of one forward pass of one image of the size in the list. Planned memory is what one \
      more image adds to the planned peak of a training step.
      """)

  @Argument(help: "The networks to list; default: all.")
  var names: [String] = []

  @Flag(
    inversion: .prefixedNo,
    help: "Plan a training step of each: some ten seconds for all of them.")
  var memory = true

  @OptionGroup var normalization: NormOption

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let norm = try normalization.style()
    let models = try names.isEmpty ? Model.all : names.map(Model.named)
    if common.json {
      try printJSON(
        models.map { try $0.cost(norm: norm, plansMemory: memory, backend: CPUBackend()) })
      return
    }
    let nameWidth = max(4, models.map(\.name.count).max() ?? 0)
    /// Numbers end, words begin below each other.
    func printRow(_ name: String, _ numbers: [String], _ summary: String) {
      func gap(_ width: Int, _ text: String) -> String {
        String(repeating: " ", count: max(0, width - text.count))
      }
      let cells = zip([9, 10, 13, 12], numbers).map { gap($0, $1) + $1 }
      print(([name + gap(nameWidth, name)] + cells + [summary]).joined(separator: "  "))
    }
    let heads = ["image", "parameters", "multiply-adds", "memory/image"]
    printRow("name", memory ? heads : heads.dropLast(), "what")
    // Row by row: planning all of them takes a while.
    for model in models {
      let cost = try model.cost(norm: norm, plansMemory: memory, backend: CPUBackend())
      let numbers = [
        cost.image.map(String.init).joined(separator: "x"),
        String(format: "%.2f M", Double(cost.parameters) / 1e6),
        String(format: "%.2f M", Double(cost.multiplyAdds) / 1e6),
      ]
      printRow(
        cost.name, numbers + (cost.plannedBytesPerImage.map { [describeBytes($0)] } ?? []),
        cost.summary)
    }
  }
}
