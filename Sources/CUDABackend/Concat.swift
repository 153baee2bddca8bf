import ABNOperators
import ABNRuntime
import ABNTensors

extension Concat: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (whole, order) = (c.outputType(0), c.order(ofInput: 0))
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    var (launches, arguments): ([KernelLaunch], [StepArgument]) = ([], [])
    var offset = 0
    for index in 0..<c.inputCount {
      let part = c.inputType(index)
      let copy = try StridedCopy.part(
        part, of: whole, in: order, axis: axis, offset: offset, isRead: false)
      launches.append(try copy.launch(c, from: index, to: c.inputCount))
      arguments.append(try c.read(index, in: order))
      offset += part.shape[axis]
    }
    arguments.append(c.write(0, in: order))
    c.launch(arguments, launches)
  }
}

extension ConcatGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (whole, order) = (c.inputType(0), c.order(ofInput: 0))
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    let offset = (0..<index).reduce(start) { $0 + c.inputType($1 + 1).shape[axis] }
    let copy = try StridedCopy.part(
      c.outputType(0), of: whole, in: order, axis: axis, offset: offset, isRead: true)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    c.launch(arguments, [try copy.launch(c, from: 0, to: 1)])
  }
}
