import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// The same image in the other order: for every sample the transpose of a matrix of channels and
/// places.
struct ImageReorder {
  private let batch: Int
  private let rows: Int
  private let columns: Int
  private let bytes: Int
  private let target: ImageOrder

  init(_ type: TensorType, to order: ImageOrder) {
    let channels = type.shape[1]
    let places = type.shape.dimensions.dropFirst(2).reduce(1, *)
    batch = type.shape[0]
    rows = order == .channelsLast ? channels : places
    columns = order == .channelsLast ? places : channels
    bytes = type.dtype.bytes
    target = order
  }

  func step(
    _ device: CUDADevice, from source: BufferID, to destination: BufferID, _ op: Operator,
    _ position: Int
  ) throws -> Step {
    let word = [1: "u8", 2: "u16", 4: "u32", 8: "u64"][bytes]!
    let kernel = try device.kernel(
      KernelSource([.reorder], entry: "transpose", defines: ["-DT=\(word)"]))
    let tiles = batch * ((rows + 31) / 32) * ((columns + 31) / 32)
    let launch = try KernelLaunch(
      kernel, blocks: min(max(tiles, 1), 1 << 20), threads: 256,
      [
        .pointer(0), .pointer(1), .i64(Int64(batch)), .i64(Int64(rows)), .i64(Int64(columns)),
      ])
    return Step(
      name: "\(op.kindName) (to \(target))", layer: op.layer,
      source: op.source, arguments: [.read(source), .write(destination)], sharing: [],
      purpose: .conversion, op: position
    ) { pointers in try device.streamLock { try launch.run(device, pointers) } }
  }
}
