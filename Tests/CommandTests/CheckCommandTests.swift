import Foundation
import Testing

/// `abn check` as a process: what it prints, and how it ends.
@Suite struct CheckCommandTests {
  @Test func printsATable() throws {
    let run = try Workplace().abn("check", "--group", "operations", "--case", "softmax")
    #expect(run.status == 0 && run.errors.isEmpty, "\(run.output) \(run.errors)")
    let lines = run.output.split(separator: "\n")
    let rows = lines.filter { $0.hasPrefix("pass ") }
    #expect(rows.count >= 6)
    #expect(lines.allSatisfy { $0.count <= 80 })
    #expect(lines.last?.hasPrefix("\(rows.count) passed, 0 failed, 0 refused, ") == true)
  }

  /// Two parts are the whole.
  @Test func partsAndJSON() throws {
    let place = try Workplace()
    let counts = try ["1/1", "1/2", "2/2"].map { part in
      let run = try place.abn("check", "--case", "tanh train", "--part", part, "--json")
      #expect(run.status == 0, "\(run.errors)")
      let json = try run.json()
      let rows = try #require(json["rows"] as? [[String: Any]])
      #expect(rows.count == json["passed"] as? Int)
      for row in rows { #expect(row["verdict"] as? String == "pass") }
      return rows.count
    }
    #expect(counts[0] > 4 && counts[1] > 0 && counts[0] == counts[1] + counts[2])
  }

  @Test(arguments: [
    (["--group", "layers"], "Did you mean \"layer\"?"), (["--case", "no such case"], "no case"),
    (["--part", "3/2"], "3/2"), (["--part", "x"], "as 2/8"), (["--precision", "f16"], "tf32"),
    (["--precision", "tf32"], "Add --device cuda"),
  ])
  func mistakes(_ arguments: [String], _ text: String) throws {
    let run = try Workplace().start(["check"] + arguments).finish()
    #expect(run.status == 1 && run.errors.contains(text), "\(run.errors)")
    #expect(run.errorLines.count == 1)
  }
}
