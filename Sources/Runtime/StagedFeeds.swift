import ABNTensors

/// The feeds of the next run, copied into a memory while the steps of this one run.
///
/// They lie in blocks of their own, since the bytes of a feed in the arena are other values' after
/// its last use; a run begins with a copy within the memory, which takes next to no time.
final class StagedFeeds {
  private let memory: any BackendMemory
  private var blocks: [String: MemoryBlock] = [:]
  private var tensors: [String: Tensor] = [:]

  init(_ memory: any BackendMemory) { self.memory = memory }

  /// Begins to copy the feeds of these ports.
  func stage(_ feed: [String: Tensor], _ ports: [LoweredProgram.Port]) throws {
    tensors = [:]
    for port in ports {
      guard let tensor = feed[port.name], tensor.dtype == port.type.dtype,
        tensor.shape == port.type.shape
      else { continue }
      let block = try blocks[port.name] ?? MemoryBlock(port.type.bytes, in: memory)
      blocks[port.name] = block
      try tensor.checked().withUnsafeBytes { try memory.stage($0, to: block.base) }
      tensors[port.name] = tensor
    }
  }

  /// Puts a staged tensor where steps look for it.
  ///
  /// - Returns: whether it was the one that was staged.
  func take(_ port: LoweredProgram.Port, _ tensor: Tensor, to address: UnsafeMutableRawPointer)
    throws -> Bool
  {
    guard let block = blocks[port.name], tensors[port.name]?.isSame(as: tensor) == true else {
      return false
    }
    tensors[port.name] = nil
    try memory.copyStaged(block.base, to: address, count: port.type.bytes)
    return true
  }
}
