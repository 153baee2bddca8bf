import ABNImages
import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles

/// Pictures of any size, in windows, mirrored and at other sizes.
@Suite struct SegmenterTests {
  /// Parameters of first values, and statistics that are not those of an identity.
  private func scope(_ networks: SegmentationNetworks, size: PictureSize) throws -> Scope {
    let scope = Scope()
    let network = try networks.network(for: networks.padded(size))
    try Executor(memoryLimit: .none).run(network.startup, scope: scope)
    return scope
  }

  private func picture(_ height: Int, _ width: Int, channels: Int = 3, seed: UInt64 = 1) -> Picture
  {
    let random = CounterRandom(seed: seed, stream: 31)
    return Picture(size: PictureSize(height: height, width: width), channels: channels) { to in
      for i in to.indices { to[i] = UInt8(random.bits(UInt64(i)) >> 24) }
    }
  }

  private func rule(channels: Int) throws -> PictureRule {
    PictureRule(
      channels: channels, geometry: PictureGeometry(side: 32),
      normalization: .imageNet(channels: channels))
  }

  /// A network of one convolution: what comes out at a pixel depends on few others.
  private func local(_ channels: Int, multiple: Int = 4) -> Model {
    Model(
      name: "local", summary: "", image: [channels, 32, 32], classes: 3,
      sizes: ImageSizes(multiple: multiple)
    ) { images, options in
      try conv2d(images, numFilters: options.classes, filterSize: 3, padding: 1)
    }
  }

  private func segmenter(
    _ model: Model, channels: Int = 3, _ view: SegmentationView = SegmentationView()
  ) throws -> (Segmenter, SegmentationNetworks, Scope) {
    let networks = SegmentationNetworks(
      model, ModelOptions(classes: 3), image: [channels, 32, 32])
    let scope = try scope(networks, size: PictureSize(side: 32))
    let segmenter = Segmenter(
      networks, rule: try rule(channels: channels), view: view,
      executor: Executor(memoryLimit: .none), scope: scope)
    return (segmenter, networks, scope)
  }

  private func same(_ a: PixelScores, _ scope: Scope, _ model: Model, view: SegmentationView)
    throws -> Segmenter
  {
    let networks = SegmentationNetworks(model, ModelOptions(classes: 3), image: [3, 32, 32])
    return Segmenter(
      networks, rule: try rule(channels: 3), view: view, executor: Executor(memoryLimit: .none),
      scope: scope)
  }

  @Test(arguments: [(32, 32), (17, 23), (33, 8), (1, 5), (40, 41)])
  func anySize(height: Int, width: Int) throws {
    for (model, channels) in [(local(3), 3), (local(1), 1)] {
      let (segmenter, networks, _) = try segmenter(model, channels: channels)
      let shown = picture(height, width, channels: 4 - channels)
      let scores = try segmenter.scores(of: shown)
      #expect(scores.size == shown.size && scores.classCount == 3)
      for i in 0..<height * width {
        let sum = (0..<3).reduce(Float(0)) { $0 + scores.values[$1 * height * width + i] }
        #expect(abs(sum - 1) < 1e-5)
      }
      #expect(
        networks.padded(shown.size)
          == PictureSize(height: (height + 3) / 4 * 4, width: (width + 3) / 4 * 4))
    }
  }

  /// What fills a picture up is the mean, 0 of what the network sees: the same as where the convolution
  /// goes on with zeros.
  @Test func paddingIsTheMean() throws {
    let shown = picture(17, 23)
    let (padded, _, scope) = try segmenter(local(3))
    let exact = try same(
      padded.scores(of: shown), scope, local(3, multiple: 1), view: SegmentationView())
    let (a, b) = (try padded.scores(of: shown).values, try exact.scores(of: shown).values)
    #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  /// A network that looks at one pixel alone says the same in any window, and of a mirrored picture.
  @Test func windowsAndMirrorsOfALocalNetwork() throws {
    let pixel = Model(
      name: "pixel", summary: "", image: [3, 32, 32], classes: 3, sizes: ImageSizes(multiple: 4)
    ) { images, options in try conv2d(images, numFilters: options.classes, filterSize: 1) }
    let shown = picture(37, 50)
    let (plain, _, scope) = try segmenter(pixel)
    let whole = try plain.scores(of: shown)
    for (window, overlap) in [(16, 0.5), (20, 0), (12, 0.9), (64, 0.3)] {
      var view = SegmentationView()
      (view.window, view.overlap, view.flips) = (PictureSize(side: window), overlap, true)
      let other = try same(whole, scope, pixel, view: view).scores(of: shown)
      #expect(
        zip(whole.values, other.values).allSatisfy { abs($0 - $1) < 1e-5 }, "\(window) \(overlap)")
    }
    #expect(
      try whole.classes() == same(whole, scope, pixel, view: .init()).scores(of: shown).classes())
  }

  /// Of a picture of one colour all sizes are the same, away from the edges.
  @Test func scalesOfOneColour() throws {
    var view = SegmentationView()
    view.scales = [0.5, 1, 1.7]
    let shown = Picture(size: PictureSize(height: 40, width: 48), colour: [200, 90, 30])
    let (plain, _, scope) = try segmenter(local(3))
    let whole = try plain.scores(of: shown)
    let several = try same(whole, scope, local(3), view: view).scores(of: shown)
    for row in 8..<32 {
      for column in 8..<40 {
        for number in 0..<3 {
          let i = (number * 40 + row) * 48 + column
          #expect(abs(whole.values[i] - several.values[i]) < 1e-5)
        }
      }
    }
    #expect(whole.values != several.values)
  }

  @Test func windowsCoverASide() {
    for side in 1...40 {
      for window in [1, 7, 16] {
        for overlap in [0, 0.3, 0.95] {
          let starts = Segmenter.starts(side: side, window: window, overlap: overlap)
          var covered = Set<Int>()
          for start in starts { covered.formUnion(start..<min(side, start + window)) }
          #expect(covered.count == side && starts == starts.sorted())
          #expect(starts.last! + window <= max(side, window) && Set(starts).count == starts.count)
        }
      }
    }
  }

  @Test func programsAreKeptAndBounded() throws {
    let networks = SegmentationNetworks(local(3), ModelOptions(classes: 3), image: [3, 32, 32])
    let first = try networks.network(for: PictureSize(side: 32))
    for i in 1...SegmentationNetworks.limit + 3 {
      _ = try networks.network(for: PictureSize(side: 4 * i))
      // Used between the others, it stays.
      #expect(
        try networks.network(for: PictureSize(side: 32)).program.revision == first.program.revision)
    }
    let other = try networks.network(for: PictureSize(side: 4))
    #expect(
      try networks.network(for: PictureSize(side: 4)).program.revision == other.program.revision)
  }

  @Test func networksThatDoNotFit() throws {
    func error(_ body: () throws -> Void) -> String {
      #expect(throws: ABNError.self) { try body() }?.description ?? ""
    }
    let classifier = SegmentationNetworks(.lenet, ModelOptions(classes: 3), image: [1, 28, 28])
    #expect(
      error { _ = try classifier.network(for: PictureSize(side: 28)) }
        .contains("classifies pictures"))
    // A layer as wide as the image.
    let rigid = Model(name: "rigid", summary: "", image: [3, 32, 32], classes: 3) {
      images, options in
      try conv2d(
        concat([images, images].prefix(images.shape[2] > 32 ? 2 : 1).map { $0 }, axis: 1),
        numFilters: options.classes, filterSize: 1)
    }
    let networks = SegmentationNetworks(rigid, ModelOptions(classes: 3), image: [3, 32, 32])
    let message = error { _ = try networks.network(for: PictureSize(side: 36)) }
    #expect(message.contains("36 x 36") && message.contains("--crop-size"), "\(message)")
    var view = SegmentationView()
    for change in [
      { view.scales = [] }, { view.scales = [0] }, { view.overlap = 1 },
      { view.window = PictureSize(height: 0, width: 4) },
    ] {
      view = SegmentationView()
      change()
      #expect(throws: ABNError.self) { try view.validate() }
    }
  }

  @Test func theModelFileKnowsItsMasks() throws {
    let classes = try #require(
      PixelClasses(text: "2: road 1 2 3\n5: tree 9 9 9\n7: void ignore\n"))
    let folder = FileManager.default.temporaryDirectory.path + "/abn-segmenter-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var file = try ModelFile(
      firstValuesOf: .unetSmall, options: ModelOptions(classes: 2), image: [3, 32, 32], seed: 1)
    file.classNames = classes.names
    file.pixelClasses = classes
    try file.write(toFolder: folder)
    let read = try ModelFile.read(folder: folder)
    #expect(read.pixelClasses == classes && read.metadata["format"]?.hasSuffix("2.2") == true)
    // Numbers of masks are those of the data, colours the classes'.
    let mask = Picture(size: PictureSize(height: 1, width: 3), channels: 1, bytes: [0, 1, 0])
    let bytes = try classes.encodedMask(mask)
    let stored = try bytes.withUnsafeBytes { try StoredPicture($0, path: "x") }
    #expect(stored.picture.pixels == [2, 5, 2])
    #expect(stored.palette?.suffix(3) == [9, 9, 9] && Array(stored.palette![6..<9]) == [1, 2, 3])
    let seen = classes.overlay(mask, upon: Picture(size: mask.size, colour: [101]))
    #expect(Array(seen.pixels[0..<3]) == [51, 52, 52])
    file.pixelClasses = nil
    #expect(file.metadata["format"]?.hasSuffix("2.1") == true)
  }
}
