import Foundation
import Testing

/// The one-way road: a room imports only rooms that stand above it in the table of Package.swift,
/// and only those that the table says it needs.
@Suite struct RoadTests {
  struct Room {
    let module: String
    let folder: String
    let needs: Set<String>
  }

  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The rows `.swift("Module", path: "Folder", needs: [...])` of the manifest, in order.
  static func rooms() throws -> [Room] {
    let text = try String(
      contentsOf: root.appendingPathComponent("Package.swift"), encoding: .utf8)
    let row = /\.(?:swift|command)\(\s*"(\w+)",\s*path:\s*"([\w\/]+)",\s*needs:\s*\[([^\]]*)\]/
    return text.matches(of: row).map { match in
      Room(
        module: String(match.1), folder: String(match.2),
        needs: Set(match.3.matches(of: /"(\w+)"/).map { String($0.1) }))
    }
  }

  static func sources(_ folder: String) -> [URL] {
    let base = root.appendingPathComponent("Sources/\(folder)")
    let all = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil)
    return (all?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "swift" }
  }

  @Test func everyArrowPointsDownTheRoad() throws {
    let rooms = try Self.rooms()
    #expect(rooms.count >= 15, "the manifest's table could not be read")
    let names = Set(rooms.map(\.module))
    var above = Set<String>()
    for room in rooms {
      #expect(
        room.needs.intersection(names).isSubset(of: above), "\(room.module) needs a room below")
      let files = Self.sources(room.folder)
      #expect(!files.isEmpty, "\(room.folder) is empty")
      for file in files {
        let text = try String(contentsOf: file, encoding: .utf8)
        for match in text.matches(of: /(?m)^(?:@_exported |@testable )?import (\w+)/) {
          let imported = String(match.1)
          guard names.contains(imported) else { continue }
          #expect(
            room.needs.contains(imported),
            "\(room.folder)/\(file.lastPathComponent) imports \(imported), which its row leaves out"
          )
        }
      }
      above.insert(room.module)
    }
  }

  /// What a card needs is known where cards are driven, and named by the ends of the road.
  @Test func onlyOneRoomLooksForCUDA() throws {
    for room in try Self.rooms() where room.module != "ABNCUDABackend" {
      for file in Self.sources(room.folder) {
        let text = try String(contentsOf: file, encoding: .utf8)
        for word in ["ABN_CUDA", "libcuda", "libnvrtc", "libcudnn", "libcublas"] {
          #expect(!text.contains(word), "\(file.lastPathComponent) spells \(word)")
        }
      }
    }
  }

  /// oneDNN's names are one room's, its threads another's, and nobody else sees the first.
  @Test func libraryRoomsHaveOneUser() throws {
    let users = ["CDNNL": "ABNDNNL", "CParallel": "ABNCPUBackend", "ABNDNNL": "ABNCPUBackend"]
    for room in try Self.rooms() {
      for file in Self.sources(room.folder) {
        let text = try String(contentsOf: file, encoding: .utf8)
        for (module, user) in users where room.module != user {
          #expect(
            !text.contains("import \(module)\n"), "\(file.lastPathComponent) imports \(module)")
        }
      }
    }
  }

  /// Rooms are given a backend; which one is decided by the command, and by the umbrella where nobody decides.
  @Test func onlyTheEndsOfTheRoadNameABackend() throws {
    let backends: Set = ["ABNCPUBackend", "ABNCUDABackend"]
    let ends = backends.union(["InPlaceABN", "abn"])
    let rooms = try Self.rooms()
    #expect(backends.isSubset(of: rooms.map(\.module)))
    for room in rooms {
      // A backend knows no other one either.
      let isEnd = room.module == "InPlaceABN" || room.module == "abn"
      #expect(isEnd || room.needs.isDisjoint(with: backends), "\(room.module) needs a backend")
      guard !ends.contains(room.module) else { continue }
      for file in Self.sources(room.folder) {
        let text = try String(contentsOf: file, encoding: .utf8)
        for name in ["CPUBackend(", "CUDABackend("] {
          #expect(!text.contains(name), "\(file.lastPathComponent) names a backend")
        }
      }
    }
  }

  /// JSON has one writer, and pages are files of their own.
  @Test func onlyOneRoomSpellsJSON() throws {
    for room in try Self.rooms() {
      for file in Self.sources(room.folder) {
        let text = try String(contentsOf: file, encoding: .utf8)
        for word in ["JSONEncoder", "JSONSerialization", "<script", "<html", "\\\":{", "{\"\""] {
          #expect(!text.contains(word), "\(file.lastPathComponent) spells \(word)")
        }
      }
    }
  }

  /// Names and paths get their quotes from `quoted`, and a near name its question from `didYouMean`.
  @Test func messagesHaveOneQuote() throws {
    // They see nothing of the package that knows text.
    let silent: Set = ["ABNKernels", "Measuring", "Activations", "Planning"]
    for room in try Self.rooms() {
      for file in Self.sources(room.folder) {
        let name = file.lastPathComponent
        let text = try String(contentsOf: file, encoding: .utf8)
        if name != "DisplayText.swift" {
          #expect(!text.contains(".debugDescription"), "\(name) quotes by itself")
        }
        if name != "NearestName.swift" {
          #expect(!text.contains("{ \"Did you mean"), "\(name) asks by itself")
        }
        guard !silent.contains(room.folder), name != "ABN.swift" else { continue }
        // Attributes of SVG have quotes too, behind an equals sign.
        #expect(!text.contains(/[^=]\\"\\\(/), "\(name) quotes by itself")
      }
    }
  }

  /// The kernel sets share nothing that is linked, or one set's instructions could reach another's callers
  /// (`Builtin` is the compiler itself: its functions are instructions); their
  /// room looks at them, at the processor and at the table of activations only, which looks at nothing; that of
  /// measurements at these. The table of the manifest says both in a form of its own
  /// (`needs: [...] + kernelNames`), so that they are checked here by name.
  @Test func theKernelsStandAlone() throws {
    let systems: Set<String> = ["Glibc", "Musl"]
    let sets: Set<String> = [
      "ABNKernelsBaseline", "ABNKernelsAVX2", "ABNKernelsAVX512", "CKernels", "CCPUFeatures",
    ]
    for (folder, count, allowed) in [
      ("Kernels/Template", 6, ["CKernels", "Builtin"]), ("Activations", 2, []),
      ("ABNKernels", 6, sets.union(systems).union(["ABNActivations"])),
      ("Measuring", 2, sets.union(systems).union(["ABNKernels"])),
    ] {
      let files = Self.sources(folder)
      #expect(files.count >= count, "\(folder) could not be read")
      for file in files {
        let text = try String(contentsOf: file, encoding: .utf8)
        for match in text.matches(of: /(?m)^\s*(?:@\w+ )*import (?:\w+ )?(\w+)/) {
          #expect(
            allowed.contains(String(match.1)),
            "\(folder)/\(file.lastPathComponent) imports \(match.1)")
        }
      }
    }
  }

  @Test func theSpineHoldsNoOperatorAndStaysShort() throws {
    let files = Self.sources("Graph")
    var lines = 0
    for file in files {
      let text = try String(contentsOf: file, encoding: .utf8)
      lines +=
        text.split(separator: "\n").filter {
          let line = $0.trimmingCharacters(in: .whitespaces)
          return !line.isEmpty && !line.hasPrefix("//")
        }.count
      #expect(!text.contains(": OperatorKind {"), "\(file.lastPathComponent) holds an operation")
    }
    #expect(lines < 600, "the spine has \(lines) lines of code")
  }
}
