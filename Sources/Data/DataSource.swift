import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Where a data set comes from, as it is written on the command line.
public enum DataSource: Sendable, Hashable, CustomStringConvertible {
  /// The 1,797 digits of 8 x 8 pixels that come with the package.
  case digits
  /// The MNIST files in a folder (see `MNIST.load(directory:)`).
  case mnist(directory: String)
  /// The CIFAR-10 files in a folder (see `CIFAR10.load(directory:)`).
  case cifar10(directory: String)

  /// How the sources are written.
  public static let forms = ["digits", "mnist:DIR", "cifar10:DIR"]

  /// The source that a text names: `digits`, `mnist:DIR` or `cifar10:DIR`.
  ///
  /// - Throws: `ABNError(.name)` that lists the valid forms and, where one is near, what was
  ///   probably meant.
  public static func parse(_ text: String) throws -> DataSource {
    let colon = text.firstIndex(of: ":")
    let kind = String(text[..<(colon ?? text.endIndex)])
    let directory = colon.map { String(text[text.index(after: $0)...]) }
    func error(_ fix: String) -> ABNError {
      ABNError(
        .name, "data source", got: quoted(text),
        wanted: forms.joined(separator: ", "), fix: fix)
    }
    switch (kind, directory) {
    case ("digits", nil): return .digits
    case ("digits", .some): throw error("The digits are built in and take no folder.")
    case ("mnist", .some(let directory)) where !directory.isEmpty:
      return .mnist(directory: directory)
    case ("cifar10", .some(let directory)) where !directory.isEmpty:
      return .cifar10(directory: directory)
    case ("mnist", _), ("cifar10", _): throw error("Name the folder: \(kind):DIR.")
    default:
      let near = nearestMatch(to: kind, in: ["digits", "mnist", "cifar10"])
        .flatMap { near in forms.first { $0.hasPrefix(near) } }
      throw error(near.map { didYouMean($0, in: [$0]) } ?? "")
    }
  }

  /// Reads the data.
  ///
  /// - Throws: what the reader of the source throws: `ABNError(.file)`, `.shape`, `.data`.
  public func load() throws -> Dataset {
    switch self {
    case .digits: Digits.dataset
    case .mnist(let directory): try MNIST.load(directory: directory)
    case .cifar10(let directory): try CIFAR10.load(directory: directory)
    }
  }

  /// The same data with the folder from the root on, for a record that is read from another folder.
  /// It stays as it is where the name of the current folder is no text in UTF-8.
  package var absolute: DataSource {
    func path(_ folder: String) -> String {
      guard !folder.hasPrefix("/"), let bytes = getcwd(nil, 0) else { return folder }
      defer { free(bytes) }
      guard let current = String(validatingCString: bytes) else { return folder }
      return (current == "/" ? "" : current) + "/" + folder
    }
    return switch self {
    case .digits: .digits
    case .mnist(let directory): .mnist(directory: path(directory))
    case .cifar10(let directory): .cifar10(directory: path(directory))
    }
  }

  /// The folder; nil for data that is built in.
  public var directory: String? {
    switch self {
    case .digits: nil
    case .mnist(let directory), .cifar10(let directory): directory
    }
  }

  /// `digits`, `mnist` or `cifar10`.
  public var name: String {
    switch self {
    case .digits: "digits"
    case .mnist: "mnist"
    case .cifar10: "cifar10"
    }
  }

  /// The text that `parse` makes this source of.
  public var description: String {
    switch self {
    case .digits: "digits"
    case .mnist(let directory): "mnist:\(directory)"
    case .cifar10(let directory): "cifar10:\(directory)"
    }
  }
}
