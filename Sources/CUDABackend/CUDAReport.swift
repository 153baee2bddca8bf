import ABNTensors

/// What there is on this machine to run on cards with, and what is missing.
package struct CUDAReport: Sendable, Codable {
  /// A library that is looked for.
  package struct Item: Sendable, Codable {
    package let name: String
    /// What it is, for people; empty where it is missing.
    package let version: String
    /// Where it was found; nil where it is missing or cannot be used.
    package let path: String?
    /// What was wrong; empty where it can be used.
    package let problem: String
    /// What to do about it.
    package let fix: String
    /// Whether it is the driver, without which no other library is of use.
    package let isDriver: Bool
  }

  /// A card.
  package struct Card: Sendable, Codable {
    package let ordinal: Int
    package let name: String
    package let totalBytes: Int
    package let architecture: String
    package let multiprocessors: Int
  }

  package let cards: [Card]
  package let libraries: [Item]
  /// Whether the driver answers.
  package let hasDriver: Bool

  /// Looks.
  package init() {
    var items: [Item] = []
    func look(_ name: String, isDriver: Bool = false, _ find: () throws -> (String, String)) {
      do {
        let (version, path) = try find()
        items.append(
          Item(
            name: name, version: version, path: path, problem: "", fix: "", isDriver: isDriver))
      } catch {
        let known = error as? ABNError
        items.append(
          Item(
            name: name, version: "", path: nil, problem: known?.got ?? "\(error)",
            fix: known?.fix ?? "", isDriver: isDriver))
      }
    }
    func dotted(_ number: Int) -> String { "\(number / 1000).\(number % 1000 / 10)" }
    var driver: CUDADriver?
    var version = 12000
    look("driver", isDriver: true) {
      let found = try CUDADriver()
      version = try found.versionNumber()
      driver = found
      return ("CUDA \(dotted(version))", found.path)
    }
    look("NVRTC") {
      let found = try NVRTC(driverVersion: version)
      return ("\(found.version.major).\(found.version.minor)", found.path)
    }
    look("cuDNN") {
      let (version, path) = try CuDNN.found()
      return ("\(version / 10000).\(version % 10000 / 100).\(version % 100)", path)
    }
    look("cuBLASLt") {
      let (version, path) = try CuBLASLt.found()
      return ("\(version / 10000).\(version % 10000 / 100).\(version % 100)", path)
    }
    hasDriver = driver != nil
    libraries = items
    var cards: [Card] = []
    var count: Int32 = 0
    if let driver, driver.deviceCount(&count) == 0 {
      for ordinal in 0..<count {
        var handle: Int32 = 0
        guard driver.device(&handle, ordinal) == 0,
          let card = try? CUDACard(driver, ordinal: handle)
        else { continue }
        cards.append(
          Card(
            ordinal: Int(ordinal), name: card.name, totalBytes: card.totalBytes,
            architecture: card.architecture, multiprocessors: card.multiprocessors))
      }
    }
    self.cards = cards
  }
}
