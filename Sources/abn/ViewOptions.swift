import ArgumentParser
import InPlaceABN

/// How pictures are shown to a network that segments.
struct ViewOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Of a network that segments: windows of this size over the picture; default: the whole picture at "
        + "once.", valueName: "HxW"))
  var window: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The share of a window that the next one covers too.", valueName: "share"))
  var overlap = SegmentationView().overlap

  @Flag(help: "Of a network that segments: the mean with the mirrored picture.")
  var flip = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Of a network that segments: the mean over pictures of these shares of their size.",
      valueName: "a,b,..."))
  var scales: String?

  var isGiven: Bool {
    window != nil || flip || scales != nil || overlap != SegmentationView().overlap
  }

  /// - Throws: `ABNError(.attribute)` for what is no size, no number or out of range.
  func view() throws -> SegmentationView {
    var view = SegmentationView()
    view.window = try window.map { try pictureSize($0, "--window") }
    view.overlap = overlap
    view.flips = flip
    if let scales {
      view.scales = try numbers(
        scales, "--scales", wanted: "numbers with commas between them: 0.75,1,1.25")
    }
    try view.validate()
    return view
  }
}
