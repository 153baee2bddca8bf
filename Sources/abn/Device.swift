import ArgumentParser
import InPlaceABN

/// What a command runs on.
struct DeviceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What to run on: cpu, cuda, or cuda:N for card N; abn devices lists them.",
      valueName: "device"))
  var device = "cpu"

  @Option(
    help: ArgumentHelp(
      "What a card computes in: f32; tf32, whose products round their inputs; bf16, which stores "
        + "what stands between convolutions in 16 bits.", valueName: "name"))
  var precision = "f32"

  /// Whether it is a card.
  var isCard: Bool { device != "cpu" }

  /// The backend of the options.
  ///
  /// - Throws: `ABNError` for an unknown device or precision, and where libraries or card are
  ///   missing.
  func backend() throws -> any Backend {
    let precision = try chosenPrecision()
    if device == "cpu" {
      guard precision == .float32 else {
        throw ABNError(
          .unsupported, "--precision", got: "\(precision.rawValue) on the processor",
          wanted: "f32", fix: "Add --device cuda, or leave it out.")
      }
      return CPUBackend()
    }
    return try CUDABackend(device: ordinal(), precision: precision)
  }

  /// What is asked for by --precision.
  func chosenPrecision() throws -> CUDAPrecision {
    if let found = CUDAPrecision(rawValue: precision) { return found }
    throw ABNError(
      unknown: precision, "--precision", names: CUDAPrecision.allCases.map(\.rawValue),
      otherwise: "abn train --help says what they are.")
  }

  /// The number of the card.
  func ordinal() throws -> Int {
    if device == "cuda" { return 0 }
    let words = device.split(separator: ":", omittingEmptySubsequences: false)
    guard words.count == 2, words[0] == "cuda", let number = Int(words[1]), number >= 0 else {
      let card = ["gpu", "nvidia", "card"].contains(device.lowercased())
      throw ABNError(
        .name, "--device", got: quoted(device), wanted: "one of cpu, cuda, cuda:0",
        fix: card
          ? "Did you mean \"cuda\"?"
          : didYouMean(
            device, in: ["cpu", "cuda", "cuda:0"], otherwise: "abn devices lists what there is."))
    }
    return number
  }
}

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists what programs can run on, and what is missing for more.")

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  private struct Result: Encodable {
    let processor: Processor
    let cuda: CUDAReport
  }
  private struct Processor: Encodable { let threads: Int }

  func run() throws {
    let report = CUDAReport()
    let processor = Processor(threads: Parallel.threads)
    if json { return try printJSON(Result(processor: processor, cuda: report)) }
    print("cpu      \(processor.threads) threads")
    for card in report.cards {
      print(
        "cuda:\(card.ordinal)   \(card.name), \(describeBytes(card.totalBytes)), \(card.architecture)"
      )
    }
    for library in report.libraries {
      if let path = library.path {
        print("  \(library.name): \(library.version), \(path)")
      } else if report.hasDriver || library.isDriver {
        print("  \(library.name): missing; \(library.fix)")
      }
    }
  }
}
