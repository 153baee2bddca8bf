import ABNTensors

/// What a pickle may hold.
enum PickleDialect {
  /// One dictionary of numpy arrays, and nothing else.
  case arrays
  /// Whatever Python programs save beside weights; tensors of PyTorch and arrays of numpy are found
  /// in it.
  case checkpoint
}

/// The values of a pickle. None of them is code, and none is ever called.
///
/// A string or bytes stand as the byte of their opcode: `PickleReader.range` says what they are.
enum PickleValue {
  case none
  case bool(Bool)
  case integer(Int)
  /// UTF-8.
  case text(Int)
  /// Raw bytes: a string of Python 2, or a bytes object.
  case raw(Int)
  /// An empty bytes object that stands nowhere in the file.
  case noBytes
  /// A text, one byte for each code point up to U+00FF.
  case latin1(Int)
  case tuple(PickleTuple)
  case dictionary(PickleDictionary)
  case global(PickleGlobal)
  case dtype(PickleDType)
  case array(PickleArray)
  // Of checkpoints only:
  case float(Double)
  /// The number of a list, dictionary or object in `PickleReader.containers`.
  case container(Int)
  case checkpointGlobal(CheckpointGlobal)
  case storage(TorchStorage)
  case tensor(TorchTensor)
  /// What this reader makes nothing of.
  case opaque

  /// In an error.
  var name: String {
    switch self {
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .text, .raw: "a string"
    case .noBytes, .latin1: "bytes"
    case .tuple(let tuple): "a tuple of \(tuple.items.count)"
    case .dictionary: "a dictionary"
    case .global(let global): "\(global)"
    case .dtype: "an element type"
    case .array: "an array"
    case .float(let value): "\(value)"
    case .container: "a list, dictionary or object"
    case .checkpointGlobal(let global): "\(global)"
    case .storage: "a storage"
    case .tensor: "a tensor"
    case .opaque: "an object"
    }
  }
}

/// The only names that a pickle may import, each standing for what this reader makes itself.
enum PickleGlobal: String {
  case reconstruct = "numpy.core.multiarray _reconstruct"
  /// The same function since numpy 2.
  case reconstructOfNumpy2 = "numpy._core.multiarray _reconstruct"
  /// An array in one call, with protocol 5.
  case fromBuffer = "numpy.core.numeric _frombuffer"
  case fromBufferOfNumpy2 = "numpy._core.numeric _frombuffer"
  /// A single number of numpy's.
  case scalar = "numpy.core.multiarray scalar"
  case scalarOfNumpy2 = "numpy._core.multiarray scalar"
  case array = "numpy ndarray"
  case dtype = "numpy dtype"
  case encode = "_codecs encode"
  case bytes = "__builtin__ bytes"
}

/// Items and how deep tuples lie in them: releasing a chain of a million tuples would exhaust the
/// stack.
final class PickleTuple {
  static let mostDepth = 8
  let items: [PickleValue]
  let depth: Int

  init(_ items: [PickleValue]) {
    self.items = items
    depth = 1 + (items.map { if case .tuple(let inner) = $0 { inner.depth } else { 0 } }.max() ?? 0)
  }
}

/// A dictionary under construction: what a memo refers to may still grow.
final class PickleDictionary {
  var arrays: [String: PickleArray] = [:]
  /// The names of all entries, those of strings and of the table of names too.
  var names: Set<String> = []
}

/// An element type; complete once its state has been set.
final class PickleDType {
  let dtype: DType
  var isBigEndian: Bool?
  init(_ dtype: DType) { self.dtype = dtype }
}

/// An array; complete once its state has been set.
final class PickleArray {
  var tensor: Tensor?
  /// Why there is none, in a checkpoint: an array that nobody asks for stands in nobody's way.
  var failure: ABNError?
  init(_ tensor: Tensor? = nil) { self.tensor = tensor }
}

/// What a pickle remembers, under numbers that count up as a rule.
struct PickleMemo {
  private var dense: [PickleValue?] = []
  private var others: [Int: PickleValue] = [:]
  /// How often something was remembered.
  private(set) var count = 0

  subscript(key: Int) -> PickleValue? {
    dense.indices.contains(key) ? dense[key] : others[key]
  }

  mutating func remember(_ value: PickleValue, as key: Int) {
    count += 1
    // At most half of them stand empty.
    if key < 2 * count + 64 {
      while dense.count <= key {
        dense.append(others.isEmpty ? nil : others.removeValue(forKey: dense.count))
      }
      dense[key] = value
    } else {
      others[key] = value
    }
  }
}
