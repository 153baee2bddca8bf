import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// The report of a segmentation: overlap of the classes, and masks over the pictures.
@Suite(.serialized) struct SegmentationReportTests {
  @Test func theReportOfASegmentation() throws {
    let place = try Workplace()
    try place.makeScenes("scenes", val: 9)
    let run = try place.abn(
      "train", "--data", "pairs:scenes", "--model", "unet-small", "--batch-size", "2", "--epochs",
      "3", "--crop-size", "48x64", "--lr", "0.1", "--output", "run")
    #expect(run.status == 0, "\(run.errors)")
    let best = try object(place.data("run/best.json"))
    #expect(best["colours"] as? [String] == ["#c83c3c", "#3cc83c", "#3c3cc8"])
    let groups = try #require(best["groups"] as? [[String: Any]])
    #expect(groups.map { $0["title"] as? String } == ["Worst", "Best"])
    let items = groups.map { $0["items"] as? [[String: Any]] ?? [] }
    // Nine pictures: six are the worst, and the three others the best.
    #expect(items.map(\.count) == [6, 3])
    let scores = items.map { $0.compactMap { $0["score"] as? Double } }
    #expect(scores[0] == scores[0].sorted() && scores[1] == scores[1].sorted(by: >))
    #expect(try #require(scores[0].last) <= #require(scores[1].last))
    for item in items.joined() {
      let names = (item["pictures"] as? [[String: Any]])?.map { $0["name"] as? String }
      #expect(names == ["picture", "prediction", "truth"])
      #expect((item["name"] as? String)?.contains("scenes/val/") == true)
    }
    let page = String(decoding: try place.data("run/report.html"), as: UTF8.self)
    for (width, isDark) in [(360, true), (1000, false)] {
      guard let found = try PageInspection.look(page, width: width, isDark: isDark) else { return }
      let text = try #require(found["text"] as? String)
      for part in [
        "unet-small on pairs:scenes", "held-out mean IoU", "Mean IoU", "pixel accuracy", "sky",
        "box",
        "Overlap of each class", "prediction", "truth", "standard layer",
      ] { #expect(text.contains(part), "\(part)\n\(text)") }
      #expect(!text.contains("cannot be shown") && found["images"] as? Int == 27)
      #expect(found["plans"] as? Int == 2)
    }
  }
}
