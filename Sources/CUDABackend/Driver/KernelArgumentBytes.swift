/// The bytes of a kernel's arguments, and what of them is known when it runs only.
struct KernelArgumentBytes {
  private(set) var bytes: [UInt8] = []
  private(set) var starts: [Int] = []
  /// Where addresses of the step's arguments go.
  private(set) var pointers: [(start: Int, argument: Int, offset: Int)] = []
  private(set) var hosts: [(start: Int, rows: HostRows)] = []

  /// The next argument begins, at a multiple of 16: more than any of them needs.
  mutating func begin() {
    align(to: 16)
    starts.append(bytes.count)
  }

  mutating func append(_ argument: KernelArgument) {
    switch argument {
    case .pointer(let index): pointer(index, 0)
    case .offset(let index, let offset): pointer(index, offset)
    case .null: number(UInt64(0))
    case .address(let address): number(address)
    case .i32(let value): number(value)
    case .u32(let value): number(value)
    case .i64(let value): number(value)
    case .f32(let value): number(value)
    case .f64(let value): number(value)
    case .bytes(let value): bytes += value
    case .host(let rows):
      align(to: 8)
      hosts.append((bytes.count, rows))
      number(UInt64(0))
    case .fields(let fields):
      for field in fields { append(field) }
      // A struct's size is a multiple of its alignment.
      align(to: 8)
    }
  }

  private mutating func pointer(_ index: Int, _ offset: Int) {
    align(to: 8)
    pointers.append((bytes.count, index, offset))
    number(UInt64(0))
  }

  private mutating func number<T: BitwiseCopyable>(_ value: T) {
    align(to: MemoryLayout<T>.size)
    withUnsafeBytes(of: value) { bytes += Array($0) }
  }

  private mutating func align(to size: Int) {
    while bytes.count % size != 0 { bytes.append(0) }
  }
}
