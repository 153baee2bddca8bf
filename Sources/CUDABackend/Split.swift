import ABNOperators
import ABNTensors

extension Split: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (whole, order) = (c.inputType(0), c.order(ofInput: 0))
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    var arguments = [try c.read(0, in: order)]
    var launches: [KernelLaunch] = []
    var offset = 0
    for index in 0..<c.outputCount {
      let part = c.outputType(index)
      let copy = try StridedCopy.part(
        part, of: whole, in: order, axis: axis, offset: offset, isRead: true)
      launches.append(try copy.launch(c, from: 0, to: index + 1))
      arguments.append(c.write(index, in: order))
      offset += part.shape[axis]
    }
    c.launch(arguments, launches)
  }
}
