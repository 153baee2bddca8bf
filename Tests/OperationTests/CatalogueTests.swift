import ABNGraph
import ABNOperations
import Foundation
import Testing

@Suite struct CatalogueTests {
  @Test func namesAreUniqueAndFormulasSaySomething() {
    var seen: [String: String] = [:]
    for kind in operationCatalogue {
      let name = kind.kindName
      if let other = seen.updateValue("\(kind)", forKey: name) {
        Issue.record("\(kind) and \(other) are both called \(name)")
      }
      #expect(name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }, "\(name)")
      #expect(!kind.formula.isEmpty && !kind.formula.contains("\n"), "\(kind)")
    }
  }

  /// The catalogue against the sources: a kind that is not listed is found here.
  @Test func everyKindIsListed() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let folder = root.appendingPathComponent("Sources/Operations")
    let files = try FileManager.default.contentsOfDirectory(
      at: folder, includingPropertiesForKeys: nil)
    var declared: [String] = []
    for file in files where file.pathExtension == "swift" {
      let text = try String(contentsOf: file, encoding: .utf8)
      for match in text.matches(of: /public struct (\w+): [^{]*\bOperationKind\b/) {
        declared.append(String(match.1))
      }
    }
    #expect(declared.count > 30)
    #expect(declared.sorted() == operationCatalogue.map { "\($0)" }.sorted())
  }
}
