import ABNTestSupport
import InPlaceABN
import Testing

/// Batch statistics through both layers, against the same program in float64: elements far from all others in the
/// first rows, and elements whose squares are no numbers of float32.
@Suite struct StatisticsLayerTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var shape: Shape
    var layout = DataLayout.nchw
    var factor = 1.0
    var outlier: Double?
    var epsilon = 1e-5
    var dtypes: [DType] = [.float32, .bfloat16]
  }

  static let cases: [Case] =
    [
      Case(testDescription: "first row 100", shape: [256, 40], outlier: 100),
      Case(
        testDescription: "first row 5000", shape: [16, 3], outlier: 5000,
        dtypes: [.float32, .bfloat16, .float16]),
      Case(
        testDescription: "first pixel 1000", shape: [4, 8, 8, 19], layout: .nhwc, outlier: 1000),
    ]
    + [1e18, 2e19, 1e30, 1e38].flatMap { factor in
      [
        Case(testDescription: "times \(factor)", shape: [8, 5, 3, 7], factor: factor),
        Case(
          testDescription: "times \(factor), NHWC", shape: [8, 3, 7, 20], layout: .nhwc,
          factor: factor),
        Case(
          testDescription: "times \(factor), NCHW in blocks", shape: [8, 32, 3, 5], factor: factor),
        Case(testDescription: "times \(factor), rows", shape: [100, 8], factor: factor),
      ]
    }
    + [1e-18, 1e-20, 1e-30].flatMap { factor in
      [
        Case(
          testDescription: "times \(factor), epsilon 0", shape: [8, 5, 3, 7], factor: factor,
          epsilon: 0),
        Case(
          testDescription: "times \(factor), NHWC, epsilon 0", shape: [8, 3, 7, 20],
          layout: .nhwc, factor: factor, epsilon: 0),
      ]
    }

  struct Result {
    var z: [Double]
    var dx: [Double]
    var dscale: [Double]
    var variance: [Double]
  }

  private func run(_ test: Case, _ dtype: DType, inPlace: Bool, _ x: Tensor, _ w: Tensor) throws
    -> Result
  {
    let rig = Rig()
    return try rig.builder.build {
      let input = try data("x", shape: test.shape, dtype: dtype, stopsGradient: false)
      let weights = try data("w", shape: test.shape, dtype: dtype)
      let attr = ParamAttr(name: "scale")
      // Away from both, so that the layer is not alone with its layout.
      let moved = try scale(input, factor: 1)
      let z =
        inPlace
        ? try inplaceABN(
          moved, act: .leakyReLU(slope: 0.25), momentum: 0, epsilon: test.epsilon, paramAttr: attr,
          dataLayout: test.layout, movingMeanName: "mean", movingVarianceName: "variance")
        : try leakyReLU(
          batchNorm(
            moved, momentum: 0, epsilon: test.epsilon, paramAttr: attr, dataLayout: test.layout,
            movingMeanName: "mean", movingVarianceName: "variance"), alpha: 0.25)
      let loss = try reduceSum(elementwiseMul(z, weights))
      let program = try rig.builder.main.differentiated(
        loss, withRespectTo: [input] + rig.builder.main.parameters.filter { $0.name == "scale" })
      try rig.start()
      let results = try rig.run(
        program.program, ["x": x.cast(to: dtype), "w": w.cast(to: dtype)],
        [z, program.gradients[input.id]!, "scale@GRAD"])
      return Result(z: results[0], dx: results[1], dscale: results[2], variance: rig["variance"])
    }
  }

  @Test(arguments: cases) func isThatOfFloat64(_ test: Case) throws {
    for dtype in test.dtypes {
      let axis = test.layout.channelAxis(rank: test.shape.rank)
      let channels = PlainLayer.channels(test.shape, test.layout)
      var values = Rig.numbers(test.shape, 3).doubles.map { $0 * test.factor }
      if let outlier = test.outlier {
        // The first element of each channel.
        for channel in 0..<test.shape[axis] { values[channels.firstIndex(of: channel)!] = outlier }
      }
      let x = Tensor(values, shape: test.shape).cast(to: dtype).cast(to: .float64)
      let w = Rig.numbers(test.shape, 4).cast(to: dtype).cast(to: .float64)
      let u = dtype == .float32 ? 0x1p-24 : (dtype == .float16 ? 0x1p-11 : 0x1p-8)
      for inPlace in [false, true] {
        let right = try run(test, .float64, inPlace: inPlace, x, w)
        let got = try run(test, dtype, inPlace: inPlace, x, w)
        let what = "\(test) \(dtype) in place \(inPlace)"
        func error(_ a: [Double], _ b: [Double]) -> Double {
          let size = b.reduce(0) { max($0, abs($1)) }
          return zip(a, b).reduce(0) {
            $1.0.isNaN ? .infinity : max($0, abs($1.0 - $1.1) / size)
          }
        }
        #expect(error(got.z, right.z) <= 16 * u, "z: \(what)")
        // An outlier of many deviations takes the digits of the others' dx.
        #expect(error(got.dx, right.dx) <= 64 * u, "dx: \(what)")
        #expect(error(got.dscale, right.dscale) <= 64 * u, "dscale: \(what)")
        for (mine, truth) in zip(got.variance, right.variance) {
          let wanted = Float(truth)
          #expect(
            wanted.isInfinite ? mine.isInfinite : abs(Float(mine) - wanted) <= 24 * wanted.ulp,
            "variance \(mine) for \(truth): \(what)")
        }
      }
    }
  }
}
