import ABNFormats
import ABNImages
import ABNTensors
import Synchronization

/// Pictures in files, decoded when they are asked for, the first ones kept in memory.
///
/// What is decoded depends on the file and the geometry alone, so that a picture out of the cache
/// has the same bits as one that is decoded again.
final class PictureFiles: PictureSource {
  /// A file: its folder by number, and its name there.
  struct File: Sendable, Hashable {
    let folder: Int
    let name: String
  }

  let folders: [String]
  let files: [File]
  let channels: Int
  let skipsBroken: Bool
  /// Whether pictures are decoded at their whole size, whatever of them is seen.
  private let isWhole: Bool
  private let options: DecodingOptions
  private let cache: PictureCache
  private let faults = Mutex<[Int: ABNError]>([:])

  init(
    folders: [String], files: [File], channels: Int, geometry: PictureGeometry,
    budget: CacheBudget, skipsBroken: Bool
  ) {
    self.folders = folders
    self.files = files
    self.channels = channels
    self.skipsBroken = skipsBroken
    isWhole = false
    options = geometry.decodingOptions(channels: channels)
    cache = PictureCache(count: files.count, budget: budget)
  }

  /// Files that are decoded at their whole size: their pixels belong to those of masks.
  init(paths: [String], channels: Int, budget: CacheBudget, skipsBroken: Bool) {
    var numbers: [String: Int] = [:]
    var folders: [String] = []
    files = paths.map { path in
      let parent = Folder.parent(of: path)
      let number = numbers[parent] ?? folders.count
      if number == folders.count {
        numbers[parent] = number
        folders.append(parent)
      }
      let name = path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) }
      return File(folder: number, name: name ?? path)
    }
    self.folders = folders
    self.channels = channels
    self.skipsBroken = skipsBroken
    isWhole = true
    options = DecodingOptions(channels: channels)
    cache = PictureCache(count: paths.count, budget: budget)
  }

  var count: Int { files.count }
  var size: PictureSize? { nil }
  var broken: [ABNError] {
    faults.withLock { $0.sorted { $0.key < $1.key }.map(\.value) }
  }

  var unreadable: Set<Int> { faults.withLock { Set($0.keys) } }

  /// The most bytes that pictures are kept in.
  var cacheBytes: Int { cache.budget.mostBytes }

  func name(of index: Int) -> String { folders[files[index].folder] + "/" + files[index].name }

  func picture(_ index: Int) throws -> Picture {
    if let known = cache[index] { return known }
    let picture = try Picture.read(name(of: index), options: options)
    cache.keep(picture, at: index)
    return picture
  }

  func original(_ index: Int) throws -> (picture: Picture, kind: String) {
    let (picture, header) = try Picture.readWithHeader(
      name(of: index), options: DecodingOptions(channels: channels))
    return (picture, header.format.rawValue)
  }

  func noteBroken(_ index: Int, _ error: ABNError) { faults.withLock { $0[index] = error } }

  func selecting(_ indices: [Int]) -> any PictureSource {
    PictureFiles(self, files: indices.map { files[$0] }, options: options)
  }

  func prepared(for geometry: PictureGeometry) -> any PictureSource {
    PictureFiles(
      self, files: files,
      options: isWhole ? options : geometry.decodingOptions(channels: channels))
  }

  private init(_ other: PictureFiles, files: [File], options: DecodingOptions) {
    folders = other.folders
    self.files = files
    channels = other.channels
    skipsBroken = other.skipsBroken
    isWhole = other.isWhole
    self.options = options
    cache = PictureCache(count: files.count, budget: other.cache.budget)
  }

  func isSame(as other: any PictureSource) -> Bool {
    guard let other = other as? PictureFiles else { return false }
    return other === self
      || count == other.count && channels == other.channels
        && (0..<count).allSatisfy { name(of: $0) == other.name(of: $0) }
  }
}

/// The bytes that decoded pictures may be kept in: those of all parts of the data together.
final class CacheBudget: Sendable {
  let mostBytes: Int
  private let used = Mutex(0)

  init(mostBytes: Int) { self.mostBytes = mostBytes }

  /// Takes so many bytes, if there are as many.
  func take(_ bytes: Int) -> Bool {
    used.withLock { used in
      guard bytes <= mostBytes - used else { return false }
      used += bytes
      return true
    }
  }

  func giveBack(_ bytes: Int) { used.withLock { $0 -= bytes } }
}

/// Decoded pictures by their numbers, as many as the budget allows. What is in stays in: an epoch
/// asks for every picture once, and then the one that was used last is the one that is needed last.
final class PictureCache: Sendable {
  let budget: CacheBudget
  private let kept: Mutex<[Picture?]>

  init(count: Int, budget: CacheBudget) {
    self.budget = budget
    kept = Mutex([Picture?](repeating: nil, count: budget.mostBytes > 0 ? count : 0))
  }

  deinit {
    budget.giveBack(kept.withLock { $0.reduce(0) { $0 + ($1?.byteCount ?? 0) } })
  }

  subscript(index: Int) -> Picture? {
    budget.mostBytes > 0 ? kept.withLock { $0[index] } : nil
  }

  func keep(_ picture: Picture, at index: Int) {
    guard budget.mostBytes > 0 else { return }
    kept.withLock { kept in
      guard kept[index] == nil, budget.take(picture.byteCount) else { return }
      kept[index] = picture
    }
  }
}
