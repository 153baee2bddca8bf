import ABNData
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors

extension ModelFile {
  /// Whether the network gives pixels classes, and not pictures.
  package var segments: Bool {
    get throws {
      if pixelClasses != nil { return true }
      let builder = ProgramBuilder()
      let logits = try builder.build {
        try model.build(
          ABNLayers.data("images", shape: Shape([Shape.unknown] + image.dimensions)), options)
      }
      return logits.shape.rank == 4
    }
  }

  /// The network as it is shown pictures of any size.
  ///
  /// - Parameters:
  ///   - folder: what the model was read from, for errors.
  ///   - backend: runs it.
  /// - Throws: `ABNError(.unsupported)` for a network that classifies pictures; `ABNError(.file)`
  ///   for a model that lacks parameters.
  package func segmenter(
    view: SegmentationView, folder: String, backend: any Backend
  ) throws -> Segmenter {
    try view.validate()
    let networks = SegmentationNetworks(model, options, image: image)
    let first = try networks.network(for: networks.padded(rule.geometry.size))
    let scope = try scope(
      for: first.program, startup: first.startup, folder: folder, backend: backend)
    // Of pictures of many sizes each would keep its own copies of the parameters.
    let executor = Executor(backend: backend, keepsConstants: false)
    return Segmenter(networks, rule: rule, view: view, executor: executor, scope: scope)
  }
}

/// Evaluates a saved model that segments, each held-out picture at its full size.
///
/// - Parameters:
///   - folder: the output folder of a training run.
///   - data: the data to evaluate on; nil: those it was trained with.
///   - options: how they are read.
///   - backend: runs it.
///   - workers: threads that read pictures ahead.
///   - report: is told how many pictures are done.
/// - Throws: `ABNError(.file)` for a folder without a model or a damaged one, `ABNError(.data)` for
///   data that do not fit it.
package func reportOnSegmentation(
  in folder: String, data: DataSource? = nil, options: DataOptions = DataOptions(),
  view: SegmentationView = SegmentationView(), workers: Int = 2, backend: any Backend,
  report: (Int) throws -> Void = { _ in }
) throws -> SegmentationReport {
  let file = try ModelFile.read(folder: folder)
  guard let source = try data ?? file.data.map(DataSource.parse) else {
    throw ABNError(
      .data, "folder \(quoted(folder))", got: "a model that came without data",
      wanted: "data to evaluate it on", fix: "Name them with --data.")
  }
  var options = options
  options.pixelClasses = file.pixelClasses
  let dataset = try source.load(options)
  guard let masks = dataset.test.masks, dataset.imageShape[0] == file.image[0],
    dataset.classCount == file.options.classes
  else {
    throw ABNError(
      .data, "data \(quoted(dataset.name))",
      got: "pictures of \(dataset.imageShape[0]) channels "
        + (dataset.pixelClasses == nil ? "without masks" : "in \(dataset.classCount) classes"),
      wanted:
        "pictures of \(file.image[0]) channels with masks in \(file.options.classes) classes, "
        + "as the model was trained on",
      fix: file.data.map { "Evaluate on \($0), or train on these data." } ?? "")
  }
  if !file.classNames.isEmpty,
    let number = masks.classes.names.indices.first(where: {
      masks.classes.names[$0] != file.className($0)
    })
  {
    throw ABNError(
      .data, "data \(quoted(dataset.name))",
      got: "class \(number) called \(quoted(masks.classes.names[number]))",
      wanted: "\(quoted(file.className(number))), as the model was trained on",
      fix: "Name the classes as they were, in their order.")
  }
  let segmenter = try file.segmenter(view: view, folder: folder, backend: backend)
  let task = SegmentationTask(
    file.model, options: file.options, image: file.image, view: view, looksAtBoundaries: true)
  let metrics = try task.evaluate(dataset.test, workers: workers, report) {
    try segmenter.scores(of: $0)
  }
  return SegmentationReport(metrics, names: masks.classes.names)
}
