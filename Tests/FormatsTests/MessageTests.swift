import ABNTensors
import Foundation
import InPlaceABN
import Testing

/// Names and paths in messages: in quotes that what they hold cannot end.
@Suite struct MessageTests {
  private static let odd = "no \"such\\ \n\u{1B}[31m"

  @Test func quotesEndWhereTheNameDoes() {
    #expect(quoted("plain é ü/路") == "\"plain é ü/路\"")
    #expect(quoted(Self.odd) == #""no \"such\\ \n\u{1B}[31m""#)
    #expect(quoted("") == "\"\"")
  }

  @Test func everyReaderNamesItsFileSo() {
    let path = "/nowhere/" + Self.odd
    let readers: [(String) throws -> Void] = [
      { _ = try Safetensors.read(path: $0) }, { _ = try NPY.read($0) }, { _ = try NPZ.read($0) },
      { _ = try ModelFile.read(folder: $0) }, { _ = try TrainingSummary.read(folder: $0) },
      { _ = try PaddleParameters.readCombined($0, names: ["w"]) },
      { _ = try DataSource.mnist(directory: $0).load() },
      { _ = try DataSource.cifar10(directory: $0).load() },
    ]
    for (index, read) in readers.enumerated() {
      let error = #expect(throws: ABNError.self) { try read(path) }
      let text = error?.description ?? ""
      #expect(text.contains(quoted(path).dropLast()), "reader \(index): \(text)")
    }
  }

  @Test func unknownNamesAreToldInOneWay() {
    let two = ABNError(unknown: "ture", "switch", names: ["true", "false"])
    #expect(two.description == "switch: got \"ture\", wanted true or false. Did you mean \"true\"?")
    let none = ABNError(
      unknown: "a\"b", "model", names: ["lenet", "vgg16", "unet"], category: .attribute,
      otherwise: "See the list.")
    #expect(
      none.description == #"model: got "a\"b", wanted one of lenet, vgg16, unet. See the list."#)
    #expect(none.category == .attribute)
    #expect(throws: ABNError.self) { try NormStyle.named("inplac", as: "--norm") }
    #expect((try? NormStyle.named("inplace", as: "--norm")) == .inplace)
  }
}
