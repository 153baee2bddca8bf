/// What can be done with a layer. Every function checks its buffers before it writes anything, and
/// throws `KernelError` for those that are misaligned, and for one that is written and overlaps
/// another.
extension ABNKernel {
  /// Mean and biased variance of every channel.
  ///
  /// ```
  /// mean = sum(x) / m;  variance = sum((x - mean)^2) / m;  m = outer * spatial
  /// ```
  /// Accumulated around a value of the channel, so that a mean of 1e5 at a deviation of 1 keeps its
  /// digits in float32. Throws `KernelError` also for an empty tensor, and for one element per
  /// channel.
  public func statistics(
    of x: UnsafeRawPointer, into statistics: ABNStatistics, workspace: ABNWorkspace
  ) throws(KernelError) {
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    try buffers.tensor("x", x)
    try buffers.array("mean", statistics.mean, isWritten: true)
    try buffers.array("variance", statistics.variance, isWritten: true)
    try buffers.array("mean remainder", statistics.meanRemainder, isWritten: true)
    try buffers.check()
    try checkTrainable()
    Engine(self, ABNParameters(scale: nil, bias: nil), nil).forward(
      .only(statistics), x, nil, workspace)
  }

  /// The forward pass of training: batch statistics, moving statistics, and z (or y, for an
  /// activation that cannot be inverted) over x.
  ///
  /// `source` and `destination` are the same buffer (in place) or do not touch (x is kept).
  /// `activated`: act(y) is wanted too, of any activation of the result y. `moving` is updated if
  /// not nil. `state.saved` takes what the backward pass needs, `state.rescue` the x of the
  /// channels that cannot be computed back. Throws `KernelError` also for an empty tensor, and for
  /// one element per channel.
  public func trainForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, state: ABNLayerState,
    moving: ABNMovingStatistics?, workspace: ABNWorkspace, activated: ABNActivated? = nil
  ) throws(KernelError) {
    try checkMomentum(moving)
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    try buffers.pair(source, destination)
    try buffers.add(state, activated)
    try buffers.array("moving mean", moving?.mean, isWritten: true)
    try buffers.array("moving variance", moving?.variance, isWritten: true)
    try buffers.check()
    try checkTrainable()
    let behind = try behind(activated)
    state.rescue?.clear()
    Engine(self, state).forward(
      .train(state.saved, moving), source, destination, workspace, behind)
  }

  /// The forward pass with given statistics, which stay as they are: z (or y) over x.
  ///
  /// The rest as in `trainForward`; an empty tensor is left alone. With a rescue x is read twice,
  /// as in training: what z keeps of it depends on the data, which given statistics do not tell.
  public func globalForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, state: ABNLayerState,
    given: ABNGivenStatistics, workspace: ABNWorkspace, activated: ABNActivated? = nil
  ) throws(KernelError) {
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    try buffers.pair(source, destination)
    try buffers.add(state, activated)
    try buffers.array("mean", given.mean, isWritten: false)
    try buffers.array("variance", given.variance, isWritten: false)
    try buffers.check()
    let behind = try behind(activated)
    state.rescue?.clear()
    Engine(self, state).forward(
      .given(state.saved, given), source, destination, workspace, behind)
  }

  private func behind(_ activated: ABNActivated?) throws(KernelError) -> ForwardPass.Behind? {
    guard let activated else { return nil }
    return (try flat(.activation(activated.activation)), activated.destination)
  }

  private func flat(_ operation: FlatOperation) throws(KernelError) -> FlatKernel {
    try FlatKernel(operation, isWide: element == .float64, instructionSet: instructionSet)
  }

  /// z = act(y), element by element, for any activation; `source` holds y. In place or apart.
  ///
  /// For an activation that cannot be inverted this makes the short-lived z from the y that the
  /// forward pass left in the buffer.
  public func activate(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    workspace: ABNWorkspace
  ) throws(KernelError) {
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    try buffers.pair(source, destination)
    try buffers.add(parameters)
    try buffers.check()
    let engine = Engine(self, parameters, nil)
    if activation == .prelu { return engine.activateLearned(source, destination, workspace) }
    let loop = try flat(.activation(activation))
    let count = geometry.elementCount
    let (from, to) = (FlatOperand(source, element), FlatOperand(destination, element))
    workspace.team.run((count + Plan.partElements - 1) / Plan.partElements) { part in
      let first = part * Plan.partElements
      loop(FlatOperands(from, to), first..<min(first + Plan.partElements, count), length: count)
    }
    engine.zeroPadding(destination)
  }

  /// The backward pass: dx, and the gradients of scale, bias and slopes.
  ///
  /// ```
  /// dy = dz * act'(y);  dbias = sum(dy);  dscale = sum(dy * xhat)
  /// batch: dx = scale * inverseDeviation * (dy - dbias / m - xhat * dscale / m)
  /// given: dx = scale * inverseDeviation * dy
  /// prelu: dslope = sum(dz * min(y, 0)), per channel or over all
  /// ```
  /// From the output it needs the rescue that the forward pass was given. Chunks of at most 64
  /// vectors (128 of 16 bits, and as many ends of runs) are summed in the precision of parameters,
  /// what they give in float64, in a fixed order. Throws `KernelError` also, from the output, for a
  /// channel of scale 0 or of a slope that is not above 0 without a row in the rescue. An empty
  /// tensor has gradients 0.
  public func backward(
    _ pass: ABNBackward, state: ABNLayerState, workspace: ABNWorkspace
  ) throws(KernelError) {
    var state = state
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    switch pass.kept {
    case .output(let output): try buffers.tensor("output or input", output)
    case .input(let input):
      try buffers.tensor("output or input", input)
      state.rescue = nil
    }
    try buffers.pair(pass.gradient, pass.destination, isGradient: true)
    try buffers.add(state, isWritten: false)
    try buffers.add(pass.gradients, state.parameters)
    try buffers.check()
    let behind = try checkedBehind(pass)
    if case .output = pass.kept { try checkInvertible(state) }
    let gradient = try behind.map { act throws(KernelError) in try flat(.gradient(act)) }
    Engine(self, state).backward(pass, gradient, workspace)
  }

  /// The activation behind the layer, which reads what the layer keeps.
  private func checkedBehind(_ pass: ABNBackward) throws(KernelError) -> ABNActivation? {
    guard let behind = pass.behind else { return nil }
    if case .output = pass.kept, activation.isInvertible { return behind }
    throw KernelError(
      what: "activation behind the layer", got: "\(behind)",
      wanted: "none beside a kept input, nor beside the layer's own \(activation)",
      fix: "Keep the output, of a layer whose own activation is undone from it.")
  }

  /// Computes x back from z (or y), in place or apart. Rescued channels come back bit for bit, the
  /// others to rounding: about u * (abs(bias / scale) + abs(xhat)) standard deviations.
  /// Throws `KernelError` as `backward` does.
  public func restore(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, state: ABNLayerState,
    workspace: ABNWorkspace
  ) throws(KernelError) {
    var buffers = CallBuffers(self)
    try buffers.add(workspace)
    try buffers.pair(source, destination)
    try buffers.add(state, isWritten: false)
    try buffers.check()
    try checkInvertible(state)
    Engine(self, state).restore(source, destination, workspace)
  }
}
