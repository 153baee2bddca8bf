extension ABNError {
  /// The error for a word that is no name of a list: it says the names, and which of them is near.
  ///
  /// - Parameters:
  ///   - what: what the word stands for: a model, an option.
  ///   - names: the words that there are.
  ///   - otherwise: the advice where no name is near.
  package init(
    unknown word: String, _ what: String, names: [String], category: Category = .name,
    otherwise: String = ""
  ) {
    self.init(
      category, what, got: quoted(word),
      wanted: names.count < 3
        ? names.joined(separator: " or ") : "one of \(names.joined(separator: ", "))",
      fix: didYouMean(word, in: names, otherwise: otherwise))
  }
}

extension RawRepresentable where Self: CaseIterable, RawValue == String {
  /// The case of this name.
  ///
  /// - Parameter what: what the name stands for, for the error.
  /// - Throws: an error of this category that names the nearest case.
  package static func named(
    _ name: String, as what: String, _ category: ABNError.Category = .name
  ) throws -> Self {
    if let found = Self(rawValue: name) { return found }
    throw ABNError(
      unknown: name, what, names: allCases.map(\.rawValue), category: category)
  }
}

/// The question for the nearest of the names to a mistyped word, or other advice where none is
/// near.
package func didYouMean(_ word: String, in names: [String], otherwise: String = "") -> String {
  nearestMatch(to: word, in: names).map { "Did you mean \(quoted($0))?" } ?? otherwise
}

/// The nearest of `candidates` to a mistyped word, if one is near (at most a third of its letters
/// wrong, two for short words). Nothing of more than 256 bytes is near to anything.
package func nearestMatch(to word: String, in candidates: [String]) -> String? {
  let mostBytes = 256
  guard word.utf8.count <= mostBytes else { return nil }
  func distance(_ a: [Character], _ b: [Character]) -> Int {
    var row = Array(0...b.count)
    for i in 0..<a.count {
      var diagonal = row[0]
      row[0] = i + 1
      for j in 0..<b.count {
        let up = row[j + 1]
        row[j + 1] = min(min(up, row[j]) + 1, diagonal + (a[i] == b[j] ? 0 : 1))
        diagonal = up
      }
    }
    return row[b.count]
  }
  let letters = Array(word.lowercased())
  let best = candidates.filter { $0.utf8.count <= mostBytes }.map {
    ($0, distance(letters, Array($0.lowercased())))
  }
  .min { $0.1 < $1.1 }
  guard let best, best.1 <= max(2, letters.count / 3) else { return nil }
  return best.0
}
