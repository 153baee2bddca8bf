import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Testing

/// Position in the input of position k of the output, in floating point as the definition says.
private func position(_ k: Int, from m: Int, to n: Int, corners: Bool, mode: Int) -> Double {
  if corners { return n > 1 ? Double(k) * Double(m - 1) / Double(n - 1) : 0 }
  let ratio = Double(m) / Double(n)
  return mode == 0 ? max((Double(k) + 0.5) * ratio - 0.5, 0) : Double(k) * ratio
}

/// x of shape [n, c, h, w], plainly.
private func plainBilinear(_ x: Tensor, to size: (Int, Int), corners: Bool, mode: Int) -> [Double] {
  let (h, w) = (x.shape[2], x.shape[3])
  let values: [Double] = x.doubles
  var out: [Double] = []
  for plane in 0..<x.shape[0] * x.shape[1] {
    for i in 0..<size.0 {
      let y = position(i, from: h, to: size.0, corners: corners, mode: mode)
      let (top, bottom) = (Int(y), min(Int(y) + 1, h - 1))
      for j in 0..<size.1 {
        let z = position(j, from: w, to: size.1, corners: corners, mode: mode)
        let (left, right) = (Int(z), min(Int(z) + 1, w - 1))
        func at(_ i: Int, _ j: Int) -> Double {
          let row: Int = plane * h + i
          return values[row * w + j]
        }
        let (fy, fz) = (y - Double(top), z - Double(left))
        let upper: Double = at(top, left) * (1 - fz) + at(top, right) * fz
        let lower: Double = at(bottom, left) * (1 - fz) + at(bottom, right) * fz
        out.append(upper * (1 - fy) + lower * fy)
      }
    }
  }
  return out
}

@Suite struct ResizeTests {
  static func bilinear(_ shape: Shape, _ size: [Int], corners: Bool, mode: Int) -> OperatorCase {
    OperatorCase(
      "bilinear \(shape) to \(size) corners \(corners) mode \(mode)", [.random(shape)],
      reference: { (x: [Tensor]) -> [[Double]] in
        [plainBilinear(x[0], to: (size[0], size[1]), corners: corners, mode: mode)]
      }
    ) { [try resizeBilinear($0[0], outShape: size, alignCorners: corners, alignMode: mode)] }
  }

  static func nearest(_ shape: Shape, _ size: [Int], corners: Bool) -> OperatorCase {
    OperatorCase(
      "nearest \(shape) to \(size) corners \(corners)", [.random(shape)],
      reference: { (x: [Tensor]) -> [[Double]] in
        func source(_ k: Int, _ m: Int, _ n: Int) -> Int {
          let exact = position(k, from: m, to: n, corners: corners, mode: 1)
          return Int(corners ? exact + 0.5 : exact)
        }
        let target: Shape = [shape[0], shape[1], size[0], size[1]]
        return [
          moved(x[0], to: target) { at in
            [at[0], at[1], source(at[2], shape[2], size[0]), source(at[3], shape[3], size[1])]
          }
        ]
      }
    ) { [try resizeNearest($0[0], outShape: size, alignCorners: corners)] }
  }

  /// The same through the other layout.
  static func channelsLast(
    _ name: String, _ resize: @escaping @Sendable (Variable) throws -> Variable
  )
    -> OperatorCase
  {
    OperatorCase(name, [.random([2, 5, 4, 3])]) { [try resize($0[0])] }
  }

  static let cases: [OperatorCase] = [
    bilinear([2, 3, 4, 5], [7, 9], corners: true, mode: 1),
    bilinear([2, 3, 4, 5], [8, 10], corners: false, mode: 0),
    bilinear([2, 3, 4, 5], [7, 9], corners: false, mode: 1),
    bilinear([1, 2, 9, 7], [4, 3], corners: true, mode: 0),
    bilinear([1, 2, 9, 7], [4, 3], corners: false, mode: 0),
    bilinear([1, 2, 9, 7], [4, 3], corners: false, mode: 1),
    bilinear([1, 1, 1, 5], [3, 1], corners: true, mode: 1),
    bilinear([1, 1, 5, 1], [1, 4], corners: false, mode: 0),
    nearest([2, 3, 4, 5], [7, 9], corners: true), nearest([2, 3, 4, 5], [8, 10], corners: false),
    nearest([1, 2, 9, 7], [4, 3], corners: true), nearest([1, 2, 9, 7], [4, 3], corners: false),
    nearest([1, 1, 4, 1], [1, 3], corners: true),
    channelsLast("bilinear NHWC") {
      try resizeBilinear($0, outShape: [7, 9], dataLayout: .nhwc)
    },
    channelsLast("nearest NHWC") {
      try resizeNearest($0, scale: 1.5, alignCorners: false, dataLayout: .nhwc)
    },
    OperatorCase("bilinear by scale", [.random([1, 2, 3, 5])]) {
      [try resizeBilinear($0[0], scale: 2.5, alignCorners: false, alignMode: 0)]
    },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }

  @Test(arguments: [true, false], [0, 1])
  func layoutsAgree(corners: Bool, mode: Int) throws {
    let x = Tensor((0..<120).map { (i: Int) -> Double in Double(i * i % 17) }, shape: [2, 3, 5, 4])
    let got = try evaluate([x]) {
      let last = try transpose($0[0], [0, 2, 3, 1])
      let a = try resizeBilinear(
        last, outShape: [9, 3], alignCorners: corners, alignMode: mode, dataLayout: .nhwc)
      let b = try resizeNearest(last, outShape: [9, 3], alignCorners: corners, dataLayout: .nhwc)
      return [
        try transpose(a, [0, 3, 1, 2]),
        try resizeBilinear($0[0], outShape: [9, 3], alignCorners: corners, alignMode: mode),
        try transpose(b, [0, 3, 1, 2]),
        try resizeNearest($0[0], outShape: [9, 3], alignCorners: corners),
      ]
    }
    expectClose(got[0].doubles, got[1].doubles, tolerance: 1e-14)
    #expect(got[2] == got[3])
  }

  /// The product is that of the original, int(size * float32(scale)) with a float32 product: rounded here
  /// from float64, where two float32 numbers have an exact one.
  @Test func scaledSizesAreTheOriginals() throws {
    var cut = 0
    for size in Array(1...300) + [512, 640, 1000, 1023, 1024, 4096] {
      for step in Array(1...400) + [1000, 1600, 3200] {
        let scale = Double(step) / 100
        let product = Double(Float(Double(Float(scale)) * Double(size)))
        #expect(
          Resize.scaled(size, by: scale) == (product < 1 ? nil : Int(product)),
          "\(size) by \(scale)")
        let whole = size * step
        guard whole % 100 == 0 else { continue }
        // Whole numbers come out, but where float32 itself is below.
        #expect(Resize.scaled(size, by: scale) == Int(product) && Int(product) >= whole / 100 - 1)
        if Int(product) != whole / 100 { cut += 1 }
        if Int(Double(size) * scale) != whole / 100, Int(product) == whole / 100 { cut += 1000 }
      }
    }
    // The sizes that float64 cuts and float32 does not, among them 100 by 0.29.
    #expect(cut >= 1000)
    for (size, scale, wanted) in [(100, 0.29, 29), (10, 0.7, 7), (100, 0.57, 57), (3, 2.5, 7)] {
      let shape = try Resize(.nearest, to: .scale(scale)).outputTypes(
        for: [TensorType([1, 1, size, size], .float32)])[0].shape
      #expect(shape == [1, 1, wanted, wanted])
    }
  }

  @Test func shapesAndErrors() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [-1, 3, -1, 8])
      #expect(try resizeBilinear(x, scale: 2).shape == [-1, 3, -1, 16])
      #expect(try resizeNearest(x, outShape: [4, 5]).shape == [-1, 3, 4, 5])
      expectError(.attribute, ["neither"]) { try resizeBilinear(x) }
      expectError(.attribute, ["[4]", "[height, width]"]) { try resizeNearest(x, outShape: [4]) }
      expectError(.attribute, ["align mode", "2"]) { try resizeBilinear(x, scale: 2, alignMode: 2) }
      expectError(.attribute, ["scale", "0.1"]) { try resizeNearest(x, scale: 0.1) }
      expectError(.attribute, ["scale", "-1"]) { try resizeNearest(x, scale: -1) }
      let flat = try data("flat", shape: [-1, 3])
      expectError(.shape, ["rank 2"]) { try resizeNearest(flat, scale: 2) }
    }
  }
}
