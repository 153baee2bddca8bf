// Shapes: N pictures, C channels, H rows, W columns.

import ABNFormats
import ABNTensors
import Foundation

/// Two arrays in files as pictures with classes.
struct ArrayPair {
  let images, labels: (value: Tensor, path: String)
  /// The kind of file, for errors: `IDX`.
  let kind: String

  /// Pictures from uint8 [N, H, W], [N, C, H, W] or, with one or three channels, [N, H, W, C];
  /// labels from whole numbers [N] or [N, 1].
  ///
  /// - Throws: `ABNError(.shape)` or `(.dtype)` for other arrays, `(.data)` for a negative label or
  ///   one above a million.
  func split() throws -> DataSplit {
    func error(
      _ category: ABNError.Category, _ array: (value: Tensor, path: String),
      at place: String? = nil,
      got: String, wanted: String, fix: String = ""
    ) -> ABNError {
      ABNError(
        category, "\(kind) file \(quoted(array.path))", at: place, got: got, wanted: wanted,
        fix: fix)
    }
    let shape = images.value.shape
    guard images.value.dtype == .uint8 else {
      throw error(
        .dtype, images, got: "\(images.value.dtype)", wanted: "uint8",
        fix: "Save the pictures as bytes: numbers in 0...1 times 255.")
    }
    guard shape.rank == 3 || shape.rank == 4, shape.dimensions.allSatisfy({ $0 > 0 }) else {
      throw error(
        .shape, images, got: "\(shape)",
        wanted: "[N, H, W], [N, C, H, W] or [N, H, W, C], N above 0")
    }
    let count = shape[0]
    guard labels.value.elementCount == count, labels.value.shape.rank >= 1,
      labels.value.shape[0] == count
    else {
      throw error(
        .shape, labels, got: "\(labels.value.shape)", wanted: "[\(count)], as there are pictures")
    }
    guard [.uint8, .int8, .int32, .int64].contains(labels.value.dtype) else {
      throw error(
        .dtype, labels, got: "\(labels.value.dtype)", wanted: "uint8, int8, int32 or int64")
    }
    let values = labels.value.elements(Int64.self)
    if let place = values.firstIndex(where: { !(0..<1 << 20).contains($0) }) {
      throw error(
        .data, labels, at: "label \(place)", got: "\(values[place])", wanted: "0...\(1 << 20 - 1)")
    }
    return try DataSplit(images: planes(images.value), labels: values.map(Int32.init))
  }

  /// The pictures as [N, C, H, W].
  private func planes(_ images: Tensor) -> Tensor {
    let shape = images.shape
    if shape.rank == 3 { return images.reshaped([shape[0], 1, shape[1], shape[2]]) }
    let few = [1, 3]
    guard few.contains(shape[3]), !few.contains(shape[1]) else { return images }
    let (count, plane, channels) = (shape[0], shape[1] * shape[2], shape[3])
    var result = Tensor(uninitialized: [count, channels, shape[1], shape[2]], dtype: .uint8)
    result.withUnsafeMutableBytes { to in
      images.withUnsafeBytes { from in
        for picture in 0..<count {
          let start = picture * plane * channels
          for channel in 0..<channels {
            for i in 0..<plane {
              to[start + channel * plane + i] = from[start + i * channels + channel]
            }
          }
        }
      }
    }
    return result
  }
}

/// Pictures to learn from and to be judged by in arrays of one folder.
struct ArrayFolder {
  let directory: String
  let kind: String
  let read: (String) throws -> Tensor

  /// The files whose names begin with `train` and with `t10k`, `test`, `val`, `valid` or
  /// `validation`, and go on with `images` and `labels`. Without the second pair, a share of the
  /// first is held out. `classes.txt`, if there is one, holds the class names, one a line; else
  /// classes are called by their numbers.
  func load(_ name: String, _ options: DataOptions) throws -> Dataset {
    try checkDirectory(directory, what: kind)
    let train = try pair(of: ["train"])
    guard let train else {
      throw ABNError(
        .file, "\(kind) folder \(quoted(directory))", got: "no file train-images...",
        wanted: "train-images... and train-labels...")
    }
    let test = try pair(of: ["t10k", "test", "validation", "valid", "val"])
    return try Self.dataset(
      name, train: train.split(), test: test?.split(), namesIn: directory, kind, options)
  }

  /// A data set of arrays; a share is held out where there is nothing to be judged by.
  static func dataset(
    _ name: String, train all: DataSplit, test: DataSplit?, namesIn directory: String,
    _ kind: String, _ options: DataOptions
  ) throws -> Dataset {
    let most = max(all.labels.max() ?? 0, test?.labels.max() ?? 0)
    let path = "\(directory)/classes.txt"
    let classNames =
      FileManager.default.fileExists(atPath: path)
      ? try readLines(path, count: Int(most) + 1, kind: kind) : (0...most).map { "\($0)" }
    if let test { return try Dataset(name: name, classNames: classNames, train: all, test: test) }
    let parts = HeldOut.divide(all.labels, share: options.validationShare)
    return try Dataset(
      name: name, classNames: classNames, train: all.selecting(parts.train),
      test: all.selecting(parts.test))
  }

  private func pair(of parts: [String]) throws -> ArrayPair? {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    } catch {
      throw ABNError(
        .file, "\(kind) folder \(quoted(directory))", got: error.localizedDescription,
        wanted: "a folder that can be listed")
    }
    for part in parts {
      func file(_ what: String) -> String? {
        names.first {
          let name = $0.lowercased()
          return name.hasPrefix(part)
            && name.dropFirst(part.count).drop { "-_.".contains($0) }.hasPrefix(what)
        }.map { "\(directory)/\($0)" }
      }
      let (images, labels) = (file("image"), file("label"))
      if images == nil, labels == nil { continue }
      guard let images, let labels else {
        throw ABNError(
          .file, "\(kind) folder \(quoted(directory))",
          got: "no file \(part)-\(images == nil ? "images" : "labels")...",
          wanted: "pictures and labels")
      }
      return try ArrayPair(
        images: (read(images), images), labels: (read(labels), labels), kind: kind)
    }
    return nil
  }
}

/// Pictures and labels in IDX files, with any number of classes.
enum IDXFolder {
  /// Reads `train-images...` and `train-labels...`, and what is held out: see `ArrayFolder.load`.
  static func load(directory: String, _ options: DataOptions) throws -> Dataset {
    try ArrayFolder(directory: directory, kind: "IDX") { try IDX.read($0) }.load("idx", options)
  }
}

/// Pictures and labels in numpy's files.
enum NPYPictures {
  /// Reads `train-images.npy` and `train-labels.npy` of a folder, and what is held out (see
  /// `ArrayFolder.load`), or two files with a comma between them, of which a share is held out.
  static func load(_ paths: String, _ options: DataOptions) throws -> Dataset {
    let files = files(paths)
    switch files.count {
    case 1:
      return try ArrayFolder(directory: paths, kind: "npy") { try NPY.read($0) }
        .load("npy", options)
    case 2:
      let pair = try ArrayPair(
        images: (NPY.read(files[0]), files[0]), labels: (NPY.read(files[1]), files[1]), kind: "npy")
      return try ArrayFolder.dataset(
        "npy", train: pair.split(), test: nil, namesIn: Folder.parent(of: files[0]), "npy", options)
    default:
      throw ABNError(
        .name, "data source", got: quoted("npy:\(paths)"),
        wanted: "npy:DIR or npy:IMAGES.npy,LABELS.npy")
    }
  }

  /// The folder, or the files.
  static func files(_ paths: String) -> [String] {
    paths.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
  }
}
