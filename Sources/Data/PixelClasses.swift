import ABNFormats
import ABNTensors
import Foundation

/// The classes of pixels: what they are called, how they are drawn, and what stands for them in
/// masks.
package struct PixelClasses: Sendable, Hashable {
  /// In labels, and in masks that were read: a pixel that does not count.
  package static let ignored = 255
  /// The most classes: the numbers of a byte but the one above.
  package static let most = 255

  /// Red, green and blue.
  package typealias Colour = SIMD3<UInt8>

  /// What numbers stand for, as it was said.
  let entries: [Entry]
  /// What the classes are called, in their order.
  package private(set) var names: [String]
  /// How they are drawn.
  package private(set) var colours: [Colour]
  /// Whether these are the colours of the data: else nobody said which, and they are those of
  /// `usualColour`.
  package private(set) var hasOwnColours: Bool
  /// The class of each number that masks hold; `ignored` of those that do not count.
  package private(set) var classes: [Int: Int]
  /// The same of colours, as 0xRRGGBB.
  package private(set) var classesOfColours: [UInt32: Int]

  /// A number of a mask and what it stands for.
  package struct Entry: Sendable, Hashable {
    package var value: Int
    package var name: String
    package var colour: Colour?
    package var isIgnored: Bool

    package init(_ value: Int, _ name: String, _ colour: Colour? = nil, isIgnored: Bool = false) {
      (self.value, self.name, self.colour, self.isIgnored) = (value, name, colour, isIgnored)
    }
  }

  /// Classes in the order of these entries, those left out that are ignored.
  ///
  /// - Parameter ignoring: more numbers that do not count.
  /// - Throws: what is wrong with them, in words: a number twice, a name twice, no class, too many.
  init(_ said: [Entry], ignoring: Set<Int> = []) throws(Fault) {
    let others = ignoring.subtracting(said.map(\.value)).sorted()
    let entries =
      said.map {
        Entry($0.value, $0.name, $0.colour, isIgnored: $0.isIgnored || ignoring.contains($0.value))
      }
      + others.map { Entry($0, "void", isIgnored: true) }
    self.entries = entries
    let counted = entries.filter { !$0.isIgnored }
    names = counted.map(\.name)
    guard (1...Self.most).contains(counted.count) else {
      throw Fault(got: "\(counted.count) classes", wanted: "1 to \(Self.most)")
    }
    for (texts, what) in [(names, "name"), (entries.map { "\($0.value)" }, "number")] {
      var seen: Set<String> = []
      if let twice = texts.first(where: { !seen.insert($0).inserted }) {
        throw Fault(got: "the \(what) \(quoted(twice)) twice", wanted: "different ones")
      }
    }
    hasOwnColours = counted.allSatisfy { $0.colour != nil }
    var taken = Set(counted.compactMap { $0.colour.map(Self.code) })
    colours = counted.indices.map { number in
      counted[number].colour
        ?? (number..<number + 512).lazy.map(Self.usualColour)
        .first { taken.insert(Self.code($0)).inserted } ?? Colour()
    }
    (classes, classesOfColours) = ([:], [:])
    // What nobody named otherwise: the usual number of pixels that belong to no class.
    classes[Self.ignored] = Self.ignored
    for entry in entries where entry.isIgnored {
      classes[entry.value] = Self.ignored
      if let colour = entry.colour { classesOfColours[Self.code(colour)] = Self.ignored }
    }
    for (number, entry) in counted.enumerated() {
      classes[entry.value] = number
      guard let colour = entry.colour else { continue }
      guard classesOfColours.updateValue(number, forKey: Self.code(colour)) == nil else {
        throw Fault(got: "a colour of \(quoted(entry.name)) twice", wanted: "different ones")
      }
    }
  }

  /// What is wrong with classes.
  struct Fault: Error {
    let got, wanted: String
    var line: Int?
  }

  /// The number of classes.
  package var count: Int { names.count }

  /// The number that masks hold for a class: the least of several.
  package func value(of number: Int) -> Int {
    classes.filter { $0.value == number }.map(\.key).min() ?? number
  }

  static func code(_ colour: Colour) -> UInt32 {
    UInt32(colour.x) << 16 | UInt32(colour.y) << 8 | UInt32(colour.z)
  }

  /// The colour map of PASCAL VOC: bits 0, 3, 6... of the number are the upper bits of red, 1, 4,
  /// 7... those of green, 2, 5, 8... those of blue.
  ///
  /// Source: the VOC development kit, `VOClabelcolormap.m`.
  package static func usualColour(_ number: Int) -> Colour {
    var colour = Colour()
    for bit in 0..<8 {
      for channel in 0..<3 where number >> (3 * bit + channel) & 1 == 1 {
        colour[channel] |= UInt8(0x80 >> bit)
      }
    }
    return colour
  }
}

extension PixelClasses {
  /// The file in a folder of data.
  package static let fileName = "classes.txt"

  /// Reads a file of classes, a line for each number in masks:
  ///
  ///     # numbers go on from 0, unless a line begins with its own
  ///     sky        128 128 128
  ///     traffic light  #804000
  ///     255: void  0 0 0  ignore
  ///
  /// The colour may be left out; `ignore` at the end: pixels with this number do not count.
  ///
  /// - Parameter ignoring: more numbers that do not count.
  /// - Throws: `ABNError(.file)` with the line.
  package static func read(_ path: String, ignoring: Set<Int> = []) throws -> PixelClasses {
    let source = try ByteSource(path: path, kind: "class")
    let mostBytes = 1 << 16
    func error(_ line: Int?, _ got: String, _ wanted: String) -> ABNError {
      ABNError(
        .file, "class file \(quoted(path))", at: line.map { "line \($0)" }, got: got,
        wanted: wanted)
    }
    guard source.byteCount <= mostBytes else {
      throw error(nil, "\(source.byteCount) bytes", "at most \(mostBytes)")
    }
    let text = try String.checked(source.bytes(at: 0, count: source.byteCount)) {
      error(nil, $0, $1)
    }
    do {
      return try PixelClasses(parsing: text, ignoring: ignoring)
    } catch let fault {
      throw error(fault.line, fault.got, fault.wanted)
    }
  }

  /// The classes of a text as `read` takes it.
  ///
  /// - Throws: what is wrong with it, in words.
  init(parsing text: String, ignoring: Set<Int> = []) throws(Fault) {
    var entries: [Entry] = []
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in lines.enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      let next = (entries.last?.value ?? -1) + 1
      guard let entry = Entry(line, next: next), (0...255).contains(entry.value) else {
        throw Fault(
          got: quoted(line), wanted: "NUMBER: NAME R G B ignore, of which only the name has to be",
          line: index + 1)
      }
      entries.append(entry)
    }
    try self.init(entries, ignoring: ignoring)
  }

  /// The classes of a text that this package has written; nil for another one.
  package init?(text: String) {
    guard let classes = try? PixelClasses(parsing: text) else { return nil }
    self = classes
  }

  /// The text that they are read from, whole.
  package var text: String {
    entries.map {
      "\($0.value): \($0.name)" + ($0.colour.map { " \($0.text)" } ?? "")
        + ($0.isIgnored ? " ignore" : "") + "\n"
    }.joined()
  }
}

extension PixelClasses.Entry {
  /// A line of a file of classes; nil for what is none.
  ///
  /// - Parameter next: the number of a line that does not say its own.
  init?(_ line: String, next: Int) {
    var words = line.split(whereSeparator: \.isWhitespace)
    var value = next
    if let first = words.first, first.hasSuffix(":"), let number = Int(first.dropLast()) {
      value = number
      words.removeFirst()
    }
    let isIgnored = words.count > 1 && words.last == "ignore"
    if isIgnored { words.removeLast() }
    var colour: PixelClasses.Colour?
    if words.count > 1, let last = words.last, last.hasPrefix("#") {
      guard last.count == 7, let code = UInt32(last.dropFirst(), radix: 16) else { return nil }
      colour = .init(code: code)
      words.removeLast()
    } else if words.count > 3 {
      let numbers = words.suffix(3).map { Int($0) }
      if numbers.allSatisfy({ $0 != nil }) {
        let bytes = numbers.compactMap { $0.flatMap { UInt8(exactly: $0) } }
        guard bytes.count == 3 else { return nil }
        colour = .init(bytes[0], bytes[1], bytes[2])
        words.removeLast(3)
      }
    }
    guard !words.isEmpty else { return nil }
    self.init(value, words.joined(separator: " "), colour, isIgnored: isIgnored)
  }
}

extension PixelClasses.Colour {
  /// 0xRRGGBB.
  package init(code: UInt32) {
    self.init(
      UInt8(truncatingIfNeeded: code >> 16), UInt8(truncatingIfNeeded: code >> 8),
      UInt8(truncatingIfNeeded: code))
  }

  /// `#RRGGBB`, in small letters.
  package var text: String {
    let digits = String(PixelClasses.code(self), radix: 16)
    return "#" + String(repeating: "0", count: 6 - digits.count) + digits
  }
}

extension PixelClasses {
  /// The 20 classes of PASCAL VOC and the background; 255 is the line around objects.
  ///
  /// Source: M. Everingham et al., "The PASCAL Visual Object Classes Challenge 2012", development
  /// kit.
  static let voc: PixelClasses = {
    let names = [
      "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
      "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa",
      "train", "tv monitor",
    ]
    return try! PixelClasses(names.indices.map { Entry($0, names[$0], usualColour($0)) })
  }()

  /// The 19 classes by which Cityscapes is judged; all other numbers of its 34 do not count.
  ///
  /// Source: M. Cordts et al., "The Cityscapes Dataset" (CVPR 2016), `cityscapesscripts`,
  /// `helpers/labels.py`.
  static let cityscapes: PixelClasses = {
    let counted: [(Int, String, UInt32)] = [
      (7, "road", 0x804080), (8, "sidewalk", 0xf423e8), (11, "building", 0x464646),
      (12, "wall", 0x66669c), (13, "fence", 0xbe9999), (17, "pole", 0x999999),
      (19, "traffic light", 0xfaaa1e), (20, "traffic sign", 0xdcdc00),
      (21, "vegetation", 0x6b8e23), (22, "terrain", 0x98fb98), (23, "sky", 0x4682b4),
      (24, "person", 0xdc143c), (25, "rider", 0xff0000), (26, "car", 0x00008e),
      (27, "truck", 0x000046), (28, "bus", 0x003c64), (31, "train", 0x005064),
      (32, "motorcycle", 0x0000e6), (33, "bicycle", 0x770b20),
    ]
    let entries = counted.map { Entry($0.0, $0.1, Colour(code: $0.2)) }
    let others = Set(0...33).subtracting(counted.map(\.0))
    return try! PixelClasses(entries, ignoring: others)
  }()
}
