@_exported import ABNActivations

/// An activation z = act(y). The invertible ones are computed in place and undone from z; for the
/// others the buffer keeps y ("stored pre-activation") and `ABNKernel.activate` makes z from it.
///
/// The slopes of prelu, one or one per channel, are passed in `ABNParameters`; channels whose slope
/// is not safely positive are rescued.
public typealias ABNActivation = Activation
