import ABNGraph
import ABNOperators
import ABNTensors

/// exp(x) / sum of exp(x) along an axis.
public func softmax(
  _ x: Variable, axis: Int = -1, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("softmax", name: name, file: file, line: line) { c in
    try c.append(Softmax(axis: axis), x)
  }
}

/// -sum over an axis of label * log(softmax(logits)): the loss of each row.
///
/// Shapes: logits [N, C] and label int64 [N, 1] give [N, 1]; with `axis: 1`, logits [N, C, H, W]
/// and label [N, 1, H, W] give [N, 1, H, W]. Soft labels are shaped like the logits and sum to 1.
///
/// - Parameters:
///   - softLabel: whether labels are distributions over the classes, else class numbers.
///   - ignoreIndex: the class number of rows without loss and gradient.
/// - Throws: `ABNError(.dtype)` or `.shape` for labels that do not fit. A label out of range
///   is an error of the run, which names row and label; see `SoftmaxCrossEntropy`.
public func softmaxWithCrossEntropy(
  _ logits: Variable, _ label: Variable, softLabel: Bool = false, ignoreIndex: Int = -100,
  axis: Int = -1, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try softmaxAndCrossEntropy(
    logits, label, softLabel: softLabel, ignoreIndex: ignoreIndex, axis: axis, name: name,
    file: file, line: line
  ).loss
}

/// `softmaxWithCrossEntropy`, and the softmax that it computes on the way.
public func softmaxAndCrossEntropy(
  _ logits: Variable, _ label: Variable, softLabel: Bool = false, ignoreIndex: Int = -100,
  axis: Int = -1, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> (loss: Variable, softmax: Variable) {
  try layer("softmax_with_cross_entropy", name: name, file: file, line: line) { c in
    let kind = SoftmaxCrossEntropy(softLabel: softLabel, ignoreIndex: ignoreIndex, axis: axis)
    let outputs = try c.append(kind, [logits, label])
    return (outputs[0], outputs[1])
  }
}

/// (x - y)^2, elementwise.
public func squareErrorCost(
  _ x: Variable, _ y: Variable, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("square_error_cost", name: name, file: file, line: line) { c in
    try c.append(SquaredError(), x, y)
  }
}

/// The mean of (x - y)^2, shape [1].
public func mseLoss(
  _ x: Variable, _ y: Variable, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("mse_loss", name: name, file: file, line: line) { c in
    try c.append(Reduce(.mean), c.append(SquaredError(), x, y))
  }
}

/// The share of rows whose label is among the k largest scores, float32 [1].
///
/// Shapes: scores [N, C], label int64 [N, 1]. A label of -100, which the loss leaves out unless
/// told otherwise, is a miss; any other that is no class is an error of the run, which names row
/// and label.
///
/// Where a property of the caller's own type is called `accuracy`, Swift looks no further:
/// `scores.accuracy(label)` is the same layer.
public func accuracy(
  _ scores: Variable, _ label: Variable, k: Int = 1, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("accuracy", name: name, file: file, line: line) { c in
    try c.append(Accuracy(k: k), scores, label)
  }
}

extension Variable {
  /// The layer `accuracy(_:_:k:)` of these scores.
  public func accuracy(
    _ label: Variable, k: Int = 1, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Variable {
    try ABNLayers.accuracy(self, label, k: k, name: name, file: file, line: line)
  }
}
