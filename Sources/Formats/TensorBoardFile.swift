import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What TensorBoard shows under a name.
package enum TensorBoardValue: Sendable {
  /// A point of a curve.
  case scalar(Double)
  case histogram(TensorBoardHistogram)
  /// A picture as a PNG file.
  case picture(width: Int, height: Int, channels: Int, png: [UInt8])
  /// Text in Markdown.
  case text(String)
}

/// A file of events as TensorBoard reads it: TFRecords, each with an `Event` of TensorFlow's
/// protocol buffers (tensorflow/core/util/event.proto, framework/summary.proto), whose numbers of
/// fields stand here.
///
/// A record: the length (8 bytes, the lowest first), its masked CRC-32C, the bytes, their masked
/// CRC-32C. TensorBoard takes all files of a folder together, in the order of their names, and
/// looks at them again while they grow.
package final class TensorBoardFile {
  /// The path.
  package var path: String { file.path }
  private let file: AppendedFile

  /// Makes a new file in a folder: `events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER`.
  ///
  /// - Parameter purgingFrom: TensorBoard drops what the files before this one have of this step
  ///   and of later ones; nil: nothing.
  /// - Throws: `ABNError(.file)` with the system's reason.
  package init(folder: String, purgingFrom step: Int? = nil) throws {
    file = try Self.make(in: folder)
    try append(step: 0) { $0.string(3, "brain.Event:2") }
    if let step {
      // SessionLog: its status START.
      try append(step: step) { event in event.message(7) { $0.integer(1, 1) } }
    }
  }

  private static func make(in folder: String) throws -> AppendedFile {
    var buffer = [CChar](repeating: 0, count: 256)
    gethostname(&buffer, buffer.count - 1)
    let host = String(
      decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self
    )
    .map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "_" }
    let digits = "\(Int(now))"
    let seconds = String(repeating: "0", count: Swift.max(0, 10 - digits.count)) + digits
    var number = 0
    while true {
      let name = "events.out.tfevents.\(seconds).\(String(host)).\(getpid()).\(number)"
      let path = "\(folder)/\(name)"
      if access(path, F_OK) != 0 { return try AppendedFile(path: path, isNew: true) }
      number += 1
    }
  }

  /// Seconds since 1970.
  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Appends values of a step as one event.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason.
  package func append(step: Int, _ values: [(tag: String, value: TensorBoardValue)]) throws {
    guard !values.isEmpty else { return }
    try append(step: step) { event in
      event.message(5) { summary in
        for (tag, value) in values { summary.message(1) { Self.write(tag, value, to: &$0) } }
      }
    }
  }

  /// Flushes to the disk what was appended.
  package func flush() throws { try file.flush() }

  private func append(step: Int, _ build: (inout ProtobufWriter) -> Void) throws {
    var event = ProtobufWriter()
    event.double(1, Self.now)
    event.integer(2, step)
    build(&event)
    try file.append(Self.record(event.bytes))
  }

  /// The bytes of a TFRecord.
  static func record(_ bytes: [UInt8]) -> [UInt8] {
    var length: [UInt8] = []
    length.appendLittleEndian(UInt64(bytes.count))
    var record = length
    record.reserveCapacity(bytes.count + 16)
    record.appendLittleEndian(CRC32C.masked(length))
    record += bytes
    record.appendLittleEndian(CRC32C.masked(bytes))
    return record
  }

  /// A `Summary.Value`.
  private static func write(
    _ tag: String, _ value: TensorBoardValue, to message: inout ProtobufWriter
  ) {
    message.string(1, tag)
    switch value {
    case .scalar(let number): message.float(2, Float(number))
    case .picture(let width, let height, let channels, let png):
      message.message(4) {
        $0.integer(1, height)
        $0.integer(2, width)
        // Grey is 1, colours are 3, with alpha 4.
        $0.integer(3, channels)
        $0.bytes(4, png)
      }
    case .histogram(let histogram):
      message.message(5) {
        $0.double(1, histogram.min)
        $0.double(2, histogram.max)
        $0.double(3, Double(histogram.count))
        $0.double(4, histogram.sum)
        $0.double(5, histogram.sumOfSquares)
        let (limits, counts) = histogram.buckets
        $0.doubles(6, limits)
        $0.doubles(7, counts)
      }
    case .text(let text):
      // TensorProto: a vector of one string (DT_STRING is 7).
      message.message(8) {
        $0.integer(1, 7)
        $0.message(2) { shape in shape.message(2) { $0.integer(1, 1) } }
        $0.string(8, text)
      }
      message.message(9) { metadata in metadata.message(1) { $0.string(1, "text") } }
    }
  }
}
