import Foundation
import Synchronization

/// What a user should know of a line that is no error: written to standard error, once for each
/// source line.
package enum UserWarning {
  /// Takes warnings in place of standard error while an operator runs, each as often as it is
  /// given: for tests.
  @TaskLocal package static var receiver: (@Sendable (String) -> Void)?

  private static let written = Mutex<Set<String>>([])

  /// Warns unless this line has been warned of.
  package static func once(_ what: String, at source: SourceLocation, fix: String) {
    let text = "warning: \(source): \(what). \(fix)"
    if let receiver { return receiver(text) }
    guard written.withLock({ $0.insert("\(source) \(what)").inserted }) else { return }
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
  }
}
