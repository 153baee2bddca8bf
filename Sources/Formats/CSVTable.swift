import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A table with names in its first line and numbers below: comma-separated values without quotes.
package struct CSVTable: Sendable, Equatable {
  /// The names of the columns.
  package var columns: [String]
  /// The cells, as many a row as there are columns; an empty one has no value.
  package var rows: [[String]]

  package init(columns: [String] = [], rows: [[String]] = []) {
    (self.columns, self.rows) = (columns, rows)
  }

  /// The table of a text. Its last line is left out where no line break ends it: it may be cut.
  ///
  /// - Throws: `ABNError(.file)` for a name that appears twice, or a row of another length.
  package init(_ text: String, path: String) throws {
    // "\r\n" is one character to Swift.
    var lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
    lines.removeLast()
    let cells = lines.filter { !$0.isEmpty }.map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    self.init(columns: cells.first ?? [], rows: Array(cells.dropFirst()))
    let isUnique = Set(columns).count == columns.count
    let bad = rows.firstIndex { $0.count != columns.count }
    guard isUnique, bad == nil else {
      throw ABNError(
        .file, "table \(quoted(path))", at: "line \((bad ?? -1) + 2)",
        got: bad.map { "\(rows[$0].count) cells" } ?? "a name that appears twice",
        wanted: bad == nil ? "names that are unique" : "\(columns.count), as the first line has",
        fix: "Move the file away if something else has written it.")
    }
  }

  /// Reads a file.
  ///
  /// - Throws: `ABNError(.file)` for a file that cannot be read, of more than 256 MiB, or that is
  ///   no such table.
  package static func read(path: String) throws -> CSVTable {
    let source = try ByteSource(path: path, kind: "table")
    let mostBytes = 1 << 28
    guard source.byteCount <= mostBytes else {
      throw ABNError(
        .file, "table \(quoted(path))", got: describeBytes(source.byteCount),
        wanted: "at most \(describeBytes(mostBytes))")
    }
    let bytes = try source.bytes(at: 0, count: source.byteCount)
    return try CSVTable(String(decoding: bytes, as: UTF8.self), path: path)
  }

  /// The cells of a column, from the first row to the last; nil where there is no such column.
  package func column(_ name: String) -> [String]? {
    columns.firstIndex(of: name).map { place in rows.map { $0[place] } }
  }

  /// The text, a line a row.
  package var text: String {
    columns.isEmpty ? "" : ([columns] + rows).map(Self.line).joined()
  }

  /// A row as its line.
  package static func line(_ cells: [String]) -> String { cells.joined(separator: ",") + "\n" }
}

/// A file with such a table that grows by rows, one for each value of a counter, and goes on after
/// its process has ended.
///
/// The counter only grows: a row takes the place of those whose counter is the same or higher.
package final class GrowingTable {
  /// The path.
  package let path: String
  private let counter: String
  private var columns: [String] = []
  private var last = Int.min
  private var file: AppendedFile

  /// Opens the table of a path.
  ///
  /// - Parameters:
  ///   - counter: the column that counts.
  ///   - limit: of a table that is there the rows are kept whose counter is at most this; those
  ///     after it are cut away, and so is a last line that has no end. nil: all are.
  /// - Throws: `ABNError(.file)` for a file that cannot be read or written, or is no such table.
  package init(path: String, counter: String, keepingUpTo limit: Int?) throws {
    (self.path, self.counter) = (path, counter)
    var table = CSVTable()
    if let limit, access(path, F_OK) == 0 {
      table = try CSVTable.read(path: path)
      table = Self.cut(table, counter) { $0 <= limit }
    }
    try AtomicFile.write(table.text, to: path)
    file = try AppendedFile(path: path)
    columns = table.columns
    last = Self.counts(table, counter).last ?? .min
  }

  /// The counters of the rows; a cell that is no number counts as the highest.
  private static func counts(_ table: CSVTable, _ counter: String) -> [Int] {
    table.column(counter)?.map { Int($0) ?? .max } ?? []
  }

  /// The rows, up to the first that is not wanted or does not count up.
  private static func cut(
    _ table: CSVTable, _ counter: String, _ isWanted: (Int) -> Bool
  ) -> CSVTable {
    let counts = counts(table, counter)
    let end = counts.indices.first {
      !isWanted(counts[$0]) || counts[$0] == .max || ($0 > 0 && counts[$0] <= counts[$0 - 1])
    }
    // A table without the column is another one.
    if counts.isEmpty { return CSVTable() }
    return CSVTable(columns: table.columns, rows: Array(table.rows.prefix(end ?? counts.count)))
  }

  /// Appends a row, with the counter among its cells. A column that the table does not have is
  /// added to it; of a column that the row does not have the cell is empty.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason; the table is as before then.
  package func append(_ cells: [(name: String, value: String)]) throws {
    let count = cells.first { $0.name == counter }.flatMap { Int($0.value) } ?? 0
    let names = cells.map(\.name)
    if count > last, names == columns {
      try file.append(CSVTable.line(cells.map(\.value)))
    } else {
      var table = columns.isEmpty ? CSVTable() : try CSVTable.read(path: path)
      table = Self.cut(table, counter) { $0 < count }
      let all = names + columns.filter { !names.contains($0) }
      let values = Dictionary(cells.map { ($0.name, $0.value) }) { $1 }
      let rows = table.rows.map { row in
        let known = Dictionary(uniqueKeysWithValues: zip(table.columns, row))
        return all.map { known[$0] ?? "" }
      }
      table = CSVTable(columns: all, rows: rows + [all.map { values[$0] ?? "" }])
      try AtomicFile.write(table.text, to: path)
      file = try AppendedFile(path: path)
      columns = all
    }
    last = count
  }

  /// Flushes to the disk what was appended.
  package func flush() throws { try file.flush() }
}
