import ABNGraph
import ABNOperators
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
    let folder = root.appendingPathComponent("Sources/Operators")
    let files = try FileManager.default.contentsOfDirectory(
      at: folder, includingPropertiesForKeys: nil)
    let text = try files.filter { $0.pathExtension == "swift" }
      .map { try String(contentsOf: $0, encoding: .utf8) }.joined(separator: "\n")
    // Kinds conform directly, or by way of a protocol of one of their families.
    var protocols: Set<String> = ["OperatorKind"]
    for match in text.matches(of: /protocol (\w+): ([^{]*)\{/)
    where match.2.contains("OperatorKind") { protocols.insert(String(match.1)) }
    var declared: [String] = []
    for match in text.matches(of: /(?:public|package) struct (\w+): ([^{]*)\{/) {
      let conformances = match.2.split { !$0.isLetter && !$0.isNumber }.map(String.init)
      if !protocols.isDisjoint(with: conformances) { declared.append(String(match.1)) }
    }
    #expect(declared.count > 30)
    #expect(declared.sorted() == operationCatalogue.map { "\($0)" }.sorted())
  }
}
