import ABNTensors

/// How the elements of an operand stand in memory.
enum FlatElement: Hashable, Sendable {
  case number(DType)
  /// One bit an element, 0 or 1; the first of eight in the lowest bit of their byte.
  case bits

  /// The name of the type in `flat.cuh`.
  var name: String {
    switch self {
    case .bits: "u8"
    case .number(.float16): "f16"
    case .number(.bfloat16): "bf16"
    case .number(.float32): "f32"
    case .number(.float64): "f64"
    case .number(.int8): "i8"
    case .number(.uint8): "u8"
    case .number(.int32): "i32"
    case .number(.int64): "i64"
    case .number(.bool): "boolean"
    }
  }

  /// Bytes of an element; 1 for bits.
  var bytes: Int {
    switch self {
    case .bits: 1
    case .number(let dtype): dtype.bytes
    }
  }
}

/// A number that is given to a kernel with the launch.
enum FlatParameter: Sendable {
  /// In the precision that the formula is computed in.
  case real(Double)
  case double(Double)
  case integer(Int)
}

/// What is computed for each element of some arrays, in C.
///
/// The elements of the inputs are `a`, `b`, `c` ...; `body` assigns `out`, and `second` and `third`
/// where there are so many outputs. All are of the type `Num`, float32 or float64. What is the same
/// for all elements is a parameter, a number in device memory (a pointer of its name), or computed
/// from those in `setup`.
///
/// Formulas are compiled without fused multiply-adds: as on the processor, each step is rounded.
struct FlatFormula: Sendable {
  var inputs: [FlatElement]
  var outputs: [FlatElement]
  var body: String
  /// Whether the arithmetic is in float64 for every type; a result is then rounded to float32 first
  /// where its type has no more, as on the processor.
  var isWide = false
  /// What the text needs beside `flat.cuh`.
  var files: [KernelFile] = []
  var parameters: [(name: String, value: FlatParameter)] = []
  /// Numbers in device memory, behind inputs and outputs among the launch's pointers.
  var scalars: [(name: String, type: DType)] = []
  /// Numbers in device memory that each set of arrays has its own of (`tableText`).
  var ownScalars: [(name: String, type: DType)] = []
  var setup = ""

  init(
    _ inputs: [DType], _ outputs: [DType], _ body: String, isWide: Bool = false,
    _ parameters: [(name: String, value: FlatParameter)] = []
  ) {
    self.inputs = inputs.map { .number($0) }
    self.outputs = outputs.map { .number($0) }
    self.body = body
    self.isWide = isWide
    self.parameters = parameters
  }

  /// The most inputs of a formula.
  static var mostInputs: Int { 8 }

  private static let inputNames = ["a", "b", "c", "d", "e", "f", "g", "h"]
  private static let outputNames = ["out", "second", "third"]

  /// Whether `Num` is float64.
  var isDouble: Bool {
    isWide
      || (inputs + outputs).contains {
        switch $0 {
        case .bits, .number(.float16), .number(.bfloat16), .number(.float32): false
        case .number: true
        }
      }
  }

  /// The elements that a thread takes at once: those of 16 bytes of the smallest numbers, or a byte
  /// of bits.
  var width: Int {
    let operands = inputs + outputs
    return operands.contains(.bits) ? 8 : max(2, min(8, 16 / (operands.map(\.bytes).min() ?? 1)))
  }

  /// How many groups of `width` elements a thread loads before it needs the first: enough bytes on
  /// their way for memory's whole speed.
  var groups: Int {
    let bytes = inputs.reduce(0) { $0 + $1.bytes } * width
    return bytes == 0 ? 4 : max(1, min(4, 64 / bytes))
  }
}

/// How the innermost loop of a broadcast walks an operand.
enum FlatStep: Hashable, Sendable {
  /// From element to element.
  case array
  /// The same element again.
  case same
}

extension FlatFormula {
  /// The threads of a block.
  static var threads: Int { 256 }

  /// The kernel `flat` over `count` elements of arrays.
  var denseText: String {
    text(arguments: operands + ["i64 count"], width: width, load: denseLoad)
  }

  private func denseLoad(_ index: Int, _ name: String) -> String {
    inputs[index] == .bits
      ? "loadGroup<1>(p_\(name), at / 8, false, left > 0 ? 1 : 0)"
      : "loadGroup<V>(p_\(name), at, isWhole, left)"
  }

  /// The kernel `flat` over many sets of arrays at once (see `FlatTable`): a block works on one
  /// set.
  ///
  /// - Parameter updated: for each output, the input in whose place it is.
  func tableText(updated: [Int]) -> String {
    let names = Self.inputNames.prefix(inputs.count)
    let sources = zip(inputs, names).enumerated().map { index, operand in
      let qualifier = updated.contains(index) ? "" : "const "
      let type = "\(qualifier)\(operand.0.name)*"
      return "  \(type) p_\(operand.1) = (\(type))table.arrays[\(index)][set];\n"
    }
    let targets = zip(outputs, zip(Self.outputNames, updated)).map { output, place in
      "  \(output.name)* p_\(place.0) = p_\(Self.inputNames[place.1]);\n"
    }
    let numbers = ownScalars.enumerated().map { index, scalar in
      let type = "const \(FlatElement.number(scalar.type).name)*"
      return "  \(type) \(scalar.name) = (\(type))table.arrays[\(inputs.count + index)][set];\n"
    }
    let most = FlatTable.mostSets
    return """
      struct Table {
        void* arrays[\(inputs.count + ownScalars.count)][\(most)];
        i64 counts[\(most)];
        u32 starts[\(most)];
      };

      """
        + text(
          arguments: ["const Table table"], width: width,
          opening: """
              int set = 0;
              for (int step = \(most / 2); step > 0; step /= 2)
                if (table.starts[set + step] <= blockIdx.x) set += step;
              const i64 count = table.counts[set];
            \((sources + targets + numbers).joined())
            """,
          loop: """
            for (i64 first = (i64)(blockIdx.x - table.starts[set]) * (\(Self.threads) * U) + threadIdx.x,
                     once = 1;
                 once; once = 0) {
            """, load: denseLoad)
  }

  /// The kernel `flat` over operands that are broadcast (see `FlatWalk`), in groups of `width`
  /// along the innermost dimension.
  ///
  /// - Parameter isLarge: whether elements are numbered in 64 bits.
  func broadcastText(width: Int, _ steps: [FlatStep], isLarge: Bool) -> String {
    let index = isLarge ? "i64" : "u32"
    return """
      struct Walk {
        i32 rank;
        \(index) sizes[\(FlatWalk.mostDimensions)];
        i64 strides[\(inputs.count)][\(FlatWalk.mostDimensions)];
      };

      """
        + text(
          arguments: operands + ["i64 count", "const Walk walk"], width: width,
          places: """
                i64 places[\(inputs.count)] = {};
                \(index) rest = (\(index))(first + \(Self.threads) * u);
                for (int d = walk.rank - 1; d >= 0 && left > 0; d--) {
                  \(index) quotient = rest / walk.sizes[d];
                  i64 own = rest - quotient * walk.sizes[d];
                  #pragma unroll
                  for (int k = 0; k < \(inputs.count); k++) places[k] += own * walk.strides[k][d];
                  rest = quotient;
                }
            """
        ) { index, name in
          steps[index] == .array
            ? "loadGroup<V>(p_\(name), places[\(index)], isWhole, left)"
            : "spread<V>(left > 0 ? p_\(name)[places[\(index)]] : \(inputs[index].name)())"
        }
  }

  /// Inputs and outputs as arguments.
  private var operands: [String] {
    zip(inputs, Self.inputNames).map { "const \($0.name)* p_\($1)" }
      + zip(outputs, Self.outputNames).map { "\($0.name)* p_\($1)" }
  }

  private static var gridLoop: String {
    """
    for (i64 first = (i64)blockIdx.x * (\(threads) * U) + threadIdx.x; first * V < count;
         first += (i64)gridDim.x * (\(threads) * U)) {
    """
  }

  /// The kernel around a way to find the group of each operand.
  ///
  /// - Parameters:
  ///   - opening: what comes before `setup`.
  ///   - loop: the head of the loop over `first`, the number of a thread's first group.
  ///   - places: what `load` needs beside `at`, the first element of a group.
  private func text(
    arguments: [String], width: Int, opening: String = "", loop: String = gridLoop,
    places: String = "", load: (_ index: Int, _ name: String) -> String
  ) -> String {
    let names = Self.inputNames.prefix(inputs.count),
      results = Self.outputNames.prefix(outputs.count)
    let pointers = scalars.map { "const \(FlatElement.number($0.type).name)* \($0.name)" }
    let aligned = (names + results).map { "isAligned(p_\($0))" }.joined(separator: " && ")
    let groups = zip(inputs, names).map {
      "  Group<\($0.name), \($0 == .bits ? "1" : "V")> g_\($1)[U];\n"
    }.joined()
    let loads = names.enumerated().map {
      "      g_\($1)[u] = \(load($0, $1));\n"
    }.joined()
    return """
      constexpr int V = \(width), U = \(self.groups);
      typedef \(isDouble ? "f64" : "f32") Num;

      extern "C" __global__ void __launch_bounds__(\(Self.threads)) flat(
          \((arguments + pointers + parameterList).joined(separator: ",\n    "))) {
      \(opening)
      \(setup)
        const bool areAligned = \(aligned);
      \(loop)
      \(groups)\
      #pragma unroll
          for (int u = 0; u < U; u++) {
            i64 at = (first + \(Self.threads) * u) * V, left = count - at;
            bool isWhole = areAligned && left >= V;
      \(places)
      \(loads)\
          }
      #pragma unroll
          for (int u = 0; u < U; u++) {
            i64 at = (first + \(Self.threads) * u) * V, left = count - at;
            bool isWhole = areAligned && left >= V;
      \(computation(names, results))\
          }
        }
      }

      """
  }

  private var parameterList: [String] {
    parameters.map { name, value in
      switch value {
      case .real: "const Num \(name)"
      case .double: "const f64 \(name)"
      case .integer: "const i64 \(name)"
      }
    }
  }

  /// The results of a group, and their stores.
  private func computation(_ names: ArraySlice<String>, _ results: ArraySlice<String>) -> String {
    let groups = zip(outputs, results).map { output, name in
      output == .bits
        ? "      Group<u8, 1> r_\(name) = {};\n" : "      Group<\(output.name), V> r_\(name);\n"
    }
    let values = zip(inputs, names).map { input, name in
      let element =
        input == .bits ? "(g_\(name)[u].e[0] >> v & 1)" : "value(g_\(name)[u].e[v])"
      return "        const Num \(name) = (Num)\(element);\n"
    }
    let stored = zip(outputs, results).map { output, name in
      switch output {
      case .bits: "        r_\(name).e[0] |= (u8)((v < left && \(name) != Num(0) ? 1 : 0) << v);\n"
      case .number(let dtype) where isWide && dtype != .float64:
        "        r_\(name).e[v] = Stored<\(output.name)>::element((f32)\(name));\n"
      case .number:
        "        r_\(name).e[v] = Stored<\(output.name)>::element(\(name));\n"
      }
    }
    let stores = zip(outputs, results).map { output, name in
      output == .bits
        ? "      storeGroup<1>(p_\(name), at / 8, false, left > 0 ? 1 : 0, r_\(name));\n"
        : "      storeGroup<V>(p_\(name), at, isWhole, left, r_\(name));\n"
    }
    let declared = "        Num \(results.joined(separator: ", "));\n"
    let loop = "#pragma unroll\n      for (int v = 0; v < V; v++) {\n"
    return groups.joined() + loop + values.joined() + declared + "        \(body)\n"
      + stored.joined() + "      }\n" + stores.joined()
  }
}
