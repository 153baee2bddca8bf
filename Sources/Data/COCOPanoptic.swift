import ABNFormats
import ABNImages
import ABNTensors
import Foundation

/// The panoptic masks of COCO: a PNG whose colours are numbers of segments, and a file that says of
/// which category each segment is.
///
/// Source: A. Kirillov et al., "Panoptic Segmentation" (CVPR 2019), and the format of COCO's data,
/// cocodataset.org, "Panoptic Segmentation".
struct COCOPanoptic {
  /// The pairs of a part, and the class of each segment of their masks.
  struct Part {
    var pairs: [PicturePairs.Pair] = []
    var segments: [[UInt32: UInt8]] = []
  }

  let classes: PixelClasses
  let train, test: Part

  private struct File: Decodable {
    struct Category: Decodable {
      let id: Int
      let name: String
      let color: [Int]?
    }
    struct Segment: Decodable {
      let id: UInt32
      let category_id: Int
    }
    struct Annotation: Decodable {
      let file_name: String
      let segments_info: [Segment]
    }
    let annotations: [Annotation]
    let categories: [Category]
  }

  /// Reads `annotations/panoptic_train*.json` and `panoptic_val*.json`; pictures are in a folder of
  /// what follows `panoptic_`, masks in one of the whole name, beside `annotations` or in it.
  ///
  /// - Throws: `ABNError(.file)` for what is not there or no such file, `(.data)` for a picture or
  ///   a mask that is missing and a segment of no category.
  init(_ directory: String) throws {
    let annotations = "\(directory)/annotations"
    try checkDirectory(annotations, what: "COCO")
    let names = try FolderListing(annotations).files
    func part(_ name: String, _ known: PixelClasses?) throws -> (Part, PixelClasses) {
      guard
        let file = names.first(where: {
          $0.hasPrefix("panoptic_\(name)") && $0.hasSuffix(".json")
        })
      else {
        throw ABNError(
          .file, "folder \(quoted(annotations))", got: "no panoptic_\(name)... .json",
          wanted: "the panoptic annotations of COCO")
      }
      return try Self.part(directory, String(file.dropLast(".json".count)), known)
    }
    let learned = try part("train", nil)
    (train, classes) = learned
    test = try part("val", learned.1).0
  }

  private static func part(
    _ directory: String, _ name: String, _ known: PixelClasses?
  ) throws -> (Part, PixelClasses) {
    let path = "\(directory)/annotations/\(name).json"
    let source = try ByteSource(path: path, kind: "COCO")
    func fault(_ got: String, _ wanted: String) -> ABNError {
      ABNError(.data, "COCO file \(quoted(path))", got: got, wanted: wanted)
    }
    let file: File
    do {
      file = try JSONDecoder().decode(
        File.self, from: Data(source.bytes(at: 0, count: source.byteCount)))
    } catch let error as DecodingError {
      throw fault("\(error)", "panoptic annotations and categories")
    }
    let categories = file.categories.sorted { $0.id < $1.id }
    let classes: PixelClasses
    do {
      classes = try PixelClasses(
        categories.enumerated().map { number, category in
          let bytes = (category.color ?? []).compactMap { UInt8(exactly: $0) }
          let colour = bytes.count == 3 ? PixelClasses.Colour(bytes[0], bytes[1], bytes[2]) : nil
          return .init(number, category.name, colour)
        })
    } catch {
      throw fault(error.got, error.wanted)
    }
    guard known == nil || known == classes else {
      throw fault("other categories", "those that are learned from")
    }
    let numbers = Dictionary(
      categories.enumerated().map { ($1.id, UInt8($0)) }, uniquingKeysWith: { a, _ in a })
    let beside = "\(directory)/\(name)"
    let masks =
      FileManager.default.fileExists(atPath: beside) ? beside : "\(directory)/annotations/\(name)"
    let pictures = "\(directory)/\(name.dropFirst("panoptic_".count))"
    for folder in [pictures, masks] { try checkDirectory(folder, what: "COCO") }
    var part = Part()
    let all = Set(try FolderListing(pictures).files)
    for annotation in file.annotations {
      let stem = annotation.file_name.split(separator: ".").dropLast().joined(separator: ".")
      guard
        let picture = PictureFolder.endings.map({ "\(stem).\($0)" }).first(where: all.contains)
      else {
        throw ABNError(
          .data, "mask \(quoted("\(masks)/\(annotation.file_name)"))", got: "no picture",
          wanted: "its picture, \(quoted("\(pictures)/\(stem).jpg"))")
      }
      var segments: [UInt32: UInt8] = [:]
      for segment in annotation.segments_info {
        guard let number = numbers[segment.category_id] else {
          throw fault(
            "a segment of category \(segment.category_id) in \(quoted(annotation.file_name))",
            "one of the \(categories.count) categories")
        }
        segments[segment.id] = number
      }
      part.pairs.append(
        .init(picture: "\(pictures)/\(picture)", mask: "\(masks)/\(annotation.file_name)"))
      part.segments.append(segments)
    }
    guard !part.pairs.isEmpty else { throw fault("no annotations", "at least one") }
    return (part, classes)
  }
}
