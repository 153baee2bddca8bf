import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNReporting

/// Pages of runs that no small training gives: many classes, masks, long names, odd numbers.
@Suite(.serialized) struct PageTests {
  /// A network that takes each class now and then for the one after the next.
  private func confusion(_ count: Int) -> String {
    let names = (0..<count).map { "class number \($0) with a long name" }
    let classes = names.map {
      #"{"name":"\#($0)","count":50,"precision":0.9,"recall":0.94,"f1":0.92}"#
    }
    let rows = (0..<count).map { own in
      "["
        + (0..<count).map { $0 == own ? "47" : $0 == (own + 2) % count ? "3" : "0" }
        .joined(separator: ",") + "]"
    }
    return
      #"{"accuracy":0.94,"count":\#(50 * count),"classes":[\#(classes.joined(separator: ","))],"#
      + #""confusion":[\#(rows.joined(separator: ","))]}"#
  }

  private func page(_ files: [String: String]) throws -> String {
    let place = try RunReportTests.Place()
    for (name, text) in files { try place.write("r/\(name)", text) }
    let report = try RunReport(
      folder: place.path + "/r",
      settings: [
        "model": String(repeating: "m", count: 80),
        "data": "folder:" + String(repeating: "/d", count: 90),
      ])
    return try RunReportTests.page([report]).text
  }

  @Test(arguments: [12, 60]) func manyClasses(_ count: Int) throws {
    let page = try page(["log.csv": RunReportTests.log(40), "metrics.json": confusion(count)])
    guard let found = try PageInspection.look(page, width: 360, isDark: false) else { return }
    let text = try #require(found["text"] as? String)
    #expect(!text.contains("cannot be shown"), "\(text)")
    #expect(text.contains("class number 3 with a long name") && text.contains("94.00 %"))
  }

  /// The values of a segmentation: overlap of each class, pictures beside prediction and truth.
  @Test func overlapAndMasks() throws {
    let pixel =
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    let shown = ["picture", "prediction", "truth"].map {
      #"{"name":"\#($0)","uri":"\#(pixel)","isCoarse":false}"#
    }.joined(separator: ",")
    let metrics =
      #"{"meanIoU":0.5,"pixelAccuracy":0.8,"count":10,"classes":[{"name":"sky","iou":0.9,"pixels":1000,"predicted":1000},{"name":"pole","iou":0.1,"pixels":200,"predicted":400}],"pixels":1200,"confusion":[[900,100],[150,50]]}"#
    let page = try page([
      "log.csv":
        "epoch,step,train_loss,val_loss,val_meanIoU,val_pixelAccuracy,learning_rate,seconds\n"
        + (1...12).map {
          "\($0),\($0 * 5),\(1 / Double($0)),nan,\(0.04 * Double($0)),0.\($0 + 20),1e-05,2\n"
        }.joined(),
      "best.json":
        ##"{"epoch":7,"colours":["#88aaff","#ff8800"],"metrics":\##(metrics),"groups":[{"title":"Worst","isRight":false,"items":[{"name":"a.png","score":0.2,"scoreName":"IoU","pictures":[\##(shown)]}]}]}"##,
    ])
    guard let found = try PageInspection.look(page, width: 900, isDark: true) else { return }
    let text = try #require(found["text"] as? String)
    for part in [
      "Overlap of each class", "pole", "10.00 %", "12.50 %", "25.00 %", "Mean IoU",
      "IoU 20.0 %", "prediction", "truth",
    ] {
      #expect(text.contains(part), "\(part)\n\(text)")
    }
    #expect(!text.contains("cannot be shown") && found["images"] as? Int == 3)
    // Loss, overlap with the accuracy of pixels, learning rate; a loss that is never a number is no curve.
    #expect(found["charts"] as? Int == 4)
  }

  /// A run that was interrupted before its first evaluation.
  @Test func nothingEvaluated() throws {
    let page = try page([
      "log.csv": "",
      "summary.json": #"""
      {"seconds": 12.5, "imagesPerSecond": 10, "plannedPeakBytes": 1000, "plannedStepBytes": 900,
       "measuredPeakBytes": 5000, "baseBytes": 7, "seed": 0, "interrupted": true, "epochsDone": 0,
       "modelPath": "x", "stopReason": "interrupted", "settings": {"model": "mlp", "epochs": "3"},
       "times": {"steps": 9, "waiting": 1, "evaluation": 2, "checkpoints": 0.5}}
      """#,
    ])
    guard let found = try PageInspection.look(page, width: 360, isDark: false) else { return }
    let text = try #require(found["text"] as? String)
    for part in [
      "not evaluated", "interrupted", "0 of 3", "No epoch was completed",
      "waiting for data 1.0 s (8.0 %)",
    ] { #expect(text.contains(part), "\(part)\n\(text)") }
    #expect(!text.contains("cannot be shown") && found["charts"] as? Int == 0)
  }

  /// The page of a plan is held to the same.
  @Test func theTimeline() throws {
    let model = try Model.named("lenet")
    let plan = try ModelPlan(
      of: model, options: ModelOptions(classes: 10), image: model.image, batchSize: 4,
      backend: CPUBackend())
    for (width, isDark) in [(360, false), (1000, true)] {
      guard
        let found = try PageInspection.look(
          plan.timeline.html(title: "lenet"), width: width, isDark: isDark)
      else { return }
      #expect(found["plans"] as? Int == 1 && (found["plan"] as? String)?.contains(" alive") == true)
    }
  }
}

/// The browser of the other tests hears what goes wrong in a page, and sees what sticks out of it.
@Suite(.serialized) struct BrowserTests {
  @Test func faultsAreFound() throws {
    let page = """
      <!doctype html><body style="width:700px"><p>seen</p>
      <script>console.error("said"); setTimeout(() => { throw new Error("thrown"); }, 10);</script>
      """
    let script = """
      return { text: frame.document.body.innerText, width: frame.document.documentElement.scrollWidth,
        isDark: frame.matchMedia("(prefers-color-scheme: dark)").matches };
      """
    for isDark in [false, true] {
      guard let visit = try Browser.visit(page, width: 360, isDark: isDark, script: script) else {
        print("skipped: no chromium in PATH")
        return
      }
      #expect(visit.console.contains { $0.contains("said") }, "\(visit.console)")
      #expect(visit.console.contains { $0.contains("thrown") }, "\(visit.console)")
      #expect(visit.found["text"] as? String == "seen")
      #expect(visit.found["width"] as? Int ?? 0 > 690 && visit.found["isDark"] as? Bool == isDark)
    }
  }
}
