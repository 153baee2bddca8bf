import Foundation
import Testing

/// `abn models` as a process.
@Suite struct ModelsTests {
  @Test func listsWhatNetworksCost() throws {
    let place = try Workplace()
    let run = try place.abn("models", "--no-memory")
    #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
    let lines = run.output.split(separator: "\n")
    #expect(lines.first?.hasPrefix("name ") == true)
    let row = try #require(lines.first { $0.hasPrefix("resnet50 ") })
    for word in ["3x224x224", "25.56 M", "4089.18 M"] { #expect(row.contains(word), "\(row)") }
    #expect(place.files("").isEmpty)
  }

  @Test func plansMemory() throws {
    let place = try Workplace()
    let costs = try ["inplace", "standard"].map { norm in
      let run = try place.abn("models", "lenet", "--json", "--norm", norm)
      let list = try JSONSerialization.jsonObject(with: Data(run.output.utf8))
      let rows = try #require(list as? [[String: Any]])
      #expect(rows.count == 1)
      return rows[0]
    }
    // Two convolutions and three products, with bias in the last and two numbers a channel.
    #expect(costs[0]["parameters"] as? Int == 400 + 12_800 + 188_160 + 10_080 + 850 + 504)
    #expect(
      costs[0]["multiplyAdds"] as? Int == 784 * 400 + 196 * 12_800 + 188_160 + 10_080 + 840)
    #expect(costs[0]["image"] as? [Int] == [1, 28, 28])
    let planned = try costs.map { try #require($0["plannedBytesPerImage"] as? Int) }
    // In place keeps one tensor for each normalization, and that is the most of it.
    #expect(planned[0] > 4 * (16 * 784 + 32 * 196))
    #expect(planned[0] < planned[1])
  }
}
