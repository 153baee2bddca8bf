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
  private let options: DecodingOptions
  private let cache: PictureCache
  private let faults = Mutex<[Int: ABNError]>([:])

  init(
    folders: [String], files: [File], channels: Int, geometry: PictureGeometry, cacheBytes: Int,
    skipsBroken: Bool
  ) {
    self.folders = folders
    self.files = files
    self.channels = channels
    self.skipsBroken = skipsBroken
    options = geometry.decodingOptions(channels: channels)
    cache = PictureCache(count: files.count, mostBytes: cacheBytes)
  }

  var count: Int { files.count }
  var size: PictureSize? { nil }
  var broken: [ABNError] {
    faults.withLock { $0.sorted { $0.key < $1.key }.map(\.value) }
  }

  /// The most bytes that pictures are kept in.
  var cacheBytes: Int { cache.mostBytes }

  func name(of index: Int) -> String { folders[files[index].folder] + "/" + files[index].name }

  func picture(_ index: Int) throws -> Picture {
    if let known = cache[index] { return known }
    let picture = try Picture.read(name(of: index), options: options)
    cache.keep(picture, at: index)
    return picture
  }

  func original(_ index: Int) throws -> (picture: Picture, kind: String) {
    let path = name(of: index)
    return (
      try Picture.read(path, options: DecodingOptions(channels: channels)),
      try Picture.readHeader(path).format.rawValue
    )
  }

  func noteBroken(_ index: Int, _ error: ABNError) { faults.withLock { $0[index] = error } }

  func selecting(_ indices: [Int]) -> any PictureSource {
    PictureFiles(self, files: indices.map { files[$0] }, options: options)
  }

  func prepared(for geometry: PictureGeometry) -> any PictureSource {
    PictureFiles(self, files: files, options: geometry.decodingOptions(channels: channels))
  }

  private init(_ other: PictureFiles, files: [File], options: DecodingOptions) {
    folders = other.folders
    self.files = files
    channels = other.channels
    skipsBroken = other.skipsBroken
    self.options = options
    cache = PictureCache(count: files.count, mostBytes: other.cacheBytes)
  }

  func isSame(as other: any PictureSource) -> Bool {
    guard let other = other as? PictureFiles else { return false }
    return other === self
      || count == other.count && channels == other.channels
        && (0..<count).allSatisfy { name(of: $0) == other.name(of: $0) }
  }
}

/// Decoded pictures by their numbers, up to a number of bytes. What is in stays in: an epoch asks
/// for every picture once, and then the one that was used last is the one that is needed last.
final class PictureCache: Sendable {
  let mostBytes: Int
  private let kept: Mutex<(pictures: [Picture?], bytes: Int)>

  init(count: Int, mostBytes: Int) {
    self.mostBytes = mostBytes
    kept = Mutex(([Picture?](repeating: nil, count: mostBytes > 0 ? count : 0), 0))
  }

  subscript(index: Int) -> Picture? {
    mostBytes > 0 ? kept.withLock { $0.pictures[index] } : nil
  }

  func keep(_ picture: Picture, at index: Int) {
    guard mostBytes > 0 else { return }
    kept.withLock { kept in
      guard kept.pictures[index] == nil, picture.byteCount <= mostBytes - kept.bytes else { return }
      kept.pictures[index] = picture
      kept.bytes += picture.byteCount
    }
  }
}
