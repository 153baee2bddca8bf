import ABNImages
import Foundation
import InPlaceABN

/// `abn predict` with a network that segments.
struct PictureSegmenting {
  /// Where results go: files of one picture, folders of several; nil: nowhere.
  struct Outputs {
    let masks, overlays: String?
  }

  private let file: ModelFile
  private let folder: String
  private let outputs: Outputs
  private let json, skipsBroken, overwrites: Bool
  private let classes: PixelClasses

  init(
    _ file: ModelFile, folder: String, outputs: Outputs, json: Bool, skipsBroken: Bool,
    overwrites: Bool
  ) throws {
    (self.file, self.folder, self.outputs) = (file, folder, outputs)
    (self.json, self.skipsBroken, self.overwrites) = (json, skipsBroken, overwrites)
    guard let classes = file.pixelClasses ?? PixelClasses(numbered: file.options.classes) else {
      throw ABNError(
        .unsupported, "model \(quoted(folder))", got: "\(file.options.classes) classes",
        wanted: "at most \(PixelClasses.most), which a mask can hold")
    }
    self.classes = classes
  }

  /// A picture and where its results go.
  private struct Job {
    let path: String
    let mask, overlay: String?
  }

  /// Segments files, or the pictures in folders.
  ///
  /// - Throws: `ABNError(.file)` with the path for what is no whole picture, and for an output that
  ///   is there already.
  func run(_ paths: [String], view: SegmentationView, backend: any Backend) throws {
    let jobs = try jobs(paths)
    let segmenter = try file.segmenter(view: view, folder: folder, backend: backend)
    try forEachReadable(jobs, skipsBroken: skipsBroken) { try run($0, segmenter) }
  }

  private func run(_ job: Job, _ segmenter: Segmenter) throws {
    let picture = try Picture.read(
      job.path, options: DecodingOptions(channels: file.image[0] == 1 ? nil : 3))
    let found = try segmenter.scores(of: picture).classes()
    if let path = job.mask { try AtomicFile.write(try classes.encodedMask(found), to: path) }
    if let path = job.overlay {
      try AtomicFile.write(try classes.overlay(found, upon: picture).encodedPNG(), to: path)
    }
    let result = SegmentedPicture(path: job.path, mask: found) { classes.names[$0] }
    if json {
      print(try JSON(encoding: result).line)
    } else {
      let shares = result.classes.map {
        "\(DisplayText.line($0.name)) \(String(format: "%.1f %%", $0.share * 100))"
      }
      print("\(DisplayText.line(job.path)): \(shares.joined(separator: ", "))")
    }
  }

  /// What there is to do; all that would be in the way is found before anything is written.
  private func jobs(_ paths: [String]) throws -> [Job] {
    var files: [(path: String, name: String)] = []
    var isFolder = false
    for path in paths {
      var found: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &found), found.boolValue
      else {
        files.append((path, Self.stem(path)))
        continue
      }
      isFolder = true
      let pictures = try FolderPictures.files(in: path)
      guard !pictures.isEmpty else {
        throw ABNError(
          .data, "folder \(quoted(path))", got: "no picture", wanted: "JPEG or PNG pictures")
      }
      files += pictures.map { ("\(path)/\($0)", Self.stem($0)) }
    }
    if files.count == 1, !isFolder {
      let job = Job(path: files[0].path, mask: outputs.masks, overlay: outputs.overlays)
      try check([job])
      return [job]
    }
    if let twice = Dictionary(grouping: files, by: \.name).values.first(where: { $0.count > 1 }),
      outputs.masks != nil || outputs.overlays != nil
    {
      throw ABNError(
        .data, "pictures", got: "\(quoted(twice[0].path)) and \(quoted(twice[1].path))",
        wanted: "pictures of different names, as their masks are called like them")
    }
    let jobs = files.map { file in
      Job(
        path: file.path, mask: outputs.masks.map { "\($0)/\(file.name).png" },
        overlay: outputs.overlays.map { "\($0)/\(file.name).png" })
    }
    try check(jobs)
    for folder in [outputs.masks, outputs.overlays].compactMap({ $0 }) { try Folder.make(folder) }
    return jobs
  }

  private func check(_ jobs: [Job]) throws {
    let inputs = jobs.map(\.path) + [ModelFile.path(of: folder)]
    if let both = outputs.masks, both == outputs.overlays {
      throw ABNError(
        .attribute, "--output and --overlay", got: "\(quoted(both)) for both",
        wanted: "two different names")
    }
    for path in jobs.flatMap({ [$0.mask, $0.overlay] }).compactMap({ $0 }) {
      guard path.lowercased().hasSuffix(".png") else {
        throw ABNError(
          .file, "output \(quoted(path))", got: "another ending", wanted: "a name that ends in .png"
        )
      }
      guard FileIdentity(path) != nil else { continue }
      try requireResult(path, isNoneOf: inputs)
      guard overwrites else {
        throw ABNError(
          .file, "output \(quoted(path))", got: "a file that is there already",
          wanted: "a new name", fix: "Choose another name, or replace it with --overwrite.")
      }
    }
  }

  /// A file's name without its ending.
  private static func stem(_ path: String) -> String {
    let name = path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) }
    let parts = (name ?? path).split(separator: ".", omittingEmptySubsequences: false)
    return parts.count > 1 ? parts.dropLast().joined(separator: ".") : name ?? path
  }
}
