import ABNTensors
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What a reader may take from one file before it refuses it: a small file can ask for much.
///
/// Every reader takes time and memory in proportion to the bytes of the file and of the tensors
/// that it gives. What stands here bounds the tensors, and what a bound of the file alone does not.
public struct ReadLimits: Sendable, Hashable {
  /// The most bytes of all elements that one call gives, unpacked. At first the memory of the
  /// machine: deflate packs a gibibyte of zeros into one mebibyte.
  public var mostBytes: Int
  /// The most tensors, entries of a zip file, or files of a folder; at first 1,048,576.
  public var mostEntries = 1 << 20
  /// The most dimensions of a tensor; at first 1,024, where numpy allows 64.
  public var mostDimensions = 1024
  /// The most levels of lists and objects in one another in a header; at first 64. Never more than
  /// 512.
  public var mostDepth = 64

  /// The limits that hold where nothing else is said.
  public init() {
    let bytes = Int(sysconf(Int32(_SC_PHYS_PAGES))).multipliedReportingOverflow(
      by: Int(sysconf(Int32(_SC_PAGESIZE))))
    mostBytes = bytes.overflow || bytes.partialValue <= 0 ? .max : bytes.partialValue
  }
}

/// What the readers of one file have taken so far.
final class ReadMeter: Sendable {
  private let bytes = Atomic<Int>(0)
  private let entries = Atomic<Int>(0)

  /// The bytes of elements that have been made room for.
  var elementBytes: Int { bytes.load(ordering: .relaxed) }

  /// The sum with `count` more bytes; the largest number where it overflows.
  func add(bytes count: Int) -> Int {
    let sum = bytes.load(ordering: .relaxed).addingReportingOverflow(count)
    let total = sum.overflow ? .max : sum.partialValue
    bytes.store(total, ordering: .relaxed)
    return total
  }

  /// The number of entries with one more.
  func addEntry() -> Int { entries.add(1, ordering: .relaxed).newValue }
}

extension ByteSource {
  /// Counts a tensor that is about to be made.
  ///
  /// - Parameters:
  ///   - bytes: of its elements.
  ///   - fault: makes the error: got, wanted, fix.
  /// - Throws: the error, where it is too much.
  package func admit(
    dimensions: Int, bytes: Int, _ fault: (String, String, String) -> ABNError
  ) throws {
    try admit(dimensions: dimensions, fault)
    try admitEntry(fault)
    let total = meter.add(bytes: bytes)
    guard total <= limits.mostBytes else {
      throw fault(
        "\(total) bytes of elements", "at most \(limits.mostBytes) (ReadLimits.mostBytes)",
        Self.limitFix)
    }
  }

  /// Checks a number of dimensions.
  package func admit(
    dimensions: Int, _ fault: (String, String, String) -> ABNError
  ) throws {
    guard dimensions <= limits.mostDimensions else {
      throw fault(
        "\(dimensions) dimensions", "at most \(limits.mostDimensions) (ReadLimits.mostDimensions)",
        Self.limitFix)
    }
  }

  /// Counts an entry.
  func admitEntry(_ fault: (String, String, String) -> ABNError) throws {
    guard meter.addEntry() <= limits.mostEntries else {
      throw fault(
        "more than \(limits.mostEntries) entries",
        "at most \(limits.mostEntries) (ReadLimits.mostEntries)", Self.limitFix)
    }
  }

  static let limitFix = "Pass other ReadLimits if the file is as it should be."
}

extension String {
  /// The text of a name in a file.
  ///
  /// - Parameter fault: makes the error: got, wanted.
  /// - Throws: the error for what is not UTF-8, and for more than 30 combining marks in a row: no
  ///   language has them, and every comparison of such texts sorts them (Unicode Standard Annex 15,
  ///   "Stream-Safe Text Format").
  package static func checked(
    _ bytes: some Collection<UInt8>, _ fault: (String, String) -> ABNError
  ) throws -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw fault("a string that is not UTF-8", "a string in UTF-8")
    }
    if bytes.allSatisfy({ $0 < 0x80 }) { return text }
    let mostMarks = 30
    var marks = 0
    for scalar in text.unicodeScalars {
      marks = scalar.properties.canonicalCombiningClass == .notReordered ? 0 : marks + 1
      guard marks <= mostMarks else {
        throw fault(
          "a string with more than \(mostMarks) combining marks in a row",
          "at most \(mostMarks) accents on a letter")
      }
    }
    return text
  }
}
