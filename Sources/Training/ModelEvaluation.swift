import ABNData
import ABNGraph
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors

/// A saved model and the held-out pictures that it is judged by.
struct ModelEvaluation {
  let file: ModelFile
  let dataset: Dataset
  let task: ClassificationTask
  let programs: ClassifierPrograms
  let scope: Scope

  /// Reads both.
  ///
  /// - Parameters:
  ///   - folder: the output folder of a training run.
  ///   - data: the data to evaluate on; nil: those it was trained with.
  ///   - options: how they are read; pictures in files are seen as the model sees them.
  /// - Throws: as `evaluateModel`.
  init(
    folder: String, data: DataSource?, options: DataOptions = DataOptions(), backend: any Backend
  ) throws {
    let file = try ModelFile.read(folder: folder)
    guard let source = try data ?? file.data.map(DataSource.parse) else {
      throw ABNError(
        .data, "folder \(quoted(folder))", got: "a model that came without data",
        wanted: "data to evaluate it on", fix: "Name them with --data.")
    }
    var options = options
    if case .folder = source { options.geometry = file.rule.geometry }
    let dataset = try source.load(options)
    guard dataset.imageShape == file.image, dataset.classCount == file.options.classes else {
      throw ABNError(
        .data, "data \(quoted(dataset.name))",
        got: "images \(dataset.imageShape) in \(dataset.classCount) classes",
        wanted:
          "images \(file.image) in \(file.options.classes) classes, as the model was trained on",
        fix: file.data.map { "Evaluate on \($0), or train on these data." } ?? "")
    }
    // Of folders, whose names are the classes' and their order.
    if case .folder = source, let number = file.otherClass(dataset.classNames) {
      throw ABNError(
        .data, "data \(quoted(dataset.name))",
        got: "class \(number) called \(quoted(dataset.classNames[number]))",
        wanted: "\(quoted(file.className(number))), as the model was trained on",
        fix: "Name the folders of the classes as they were.")
    }
    try file.model.requireFits(dataset, file.options)
    task = ClassificationTask(file.model, options: file.options, image: file.image)
    programs = try task.programs(seed: 0) { _ in }
    scope = try file.scope(
      for: programs.evaluation, startup: programs.startup, folder: folder, backend: backend)
    (self.file, self.dataset) = (file, dataset)
  }

  /// What the model says of every picture, the last, smaller batch included.
  func metrics(batchSize: Int, executor: Executor) throws -> ClassificationMetrics {
    try task.evaluate(
      programs, dataset.test, normalization: file.normalization, batchSize: batchSize, limit: nil,
      executor: executor, scope: scope, workers: 1, report: { _ in })
  }
}

extension ModelFile {
  /// The first class that is called otherwise; nil where all have their names, or nobody said
  /// which.
  fileprivate func otherClass(_ names: [String]) -> Int? {
    classNames.isEmpty ? nil : names.indices.first { names[$0] != className($0) }
  }
}

/// Evaluates a saved model class by class.
///
/// - Parameters:
///   - folder: the output folder of a training run.
///   - data: the data to evaluate on; nil: those it was trained with.
///   - backend: runs it.
/// - Throws: as `evaluateModel`.
package func reportOnModel(
  in folder: String, data: DataSource? = nil, options: DataOptions = DataOptions(),
  batchSize: Int = 128, backend: any Backend
) throws -> ClassificationReport {
  let evaluation = try ModelEvaluation(
    folder: folder, data: data, options: options, backend: backend)
  let metrics = try evaluation.metrics(
    batchSize: batchSize, executor: Executor(backend: backend))
  let names = evaluation.file.classNames
  return ClassificationReport(metrics, names: names.isEmpty ? evaluation.dataset.classNames : names)
}
