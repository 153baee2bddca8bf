import Testing

@testable import ABNKernels

/// Every element type, layout, activation, mode and instruction set against the float64 layer.
@Suite struct AgreementTests {
  static let sets = ABNInstructionSet.allCases.filter(\.isSupported)

  static let activations: [ABNActivation] = [
    .identity, .leakyReLU(alpha: 0.01), .leakyReLU(alpha: 2), .elu(alpha: 1), .elu(alpha: 0.3),
    .prelu, .relu, .relu6, .leakyReLU(alpha: -0.5), .leakyReLU(alpha: 0), .elu(alpha: -1),
    .elu(alpha: 0), .sigmoid, .tanh, .swish, .gelu, .hardSwish, .mish,
  ]

  /// Many elements a channel, or many channels with some of small scale: those activations for which the
  /// tolerance, a multiple of the result, holds however many terms cancel and however near an element
  /// comes to a jump of the derivative.
  static func activations(for geometry: ABNGeometry) -> [ABNActivation] {
    geometry.countPerChannel < 1000 && geometry.channels < 64
      ? activations : [.identity, .leakyReLU(alpha: 0.01), .elu(alpha: 1), .prelu, .relu, .tanh]
  }

  /// Whether gradients may be taken without y - bias, or with it.
  static func hasTwoRoads(_ activation: ABNActivation) -> Bool {
    switch activation {
    case .identity, .prelu: true
    case .leakyReLU(let alpha), .elu(let alpha): alpha > 0
    default: false
    }
  }

  /// Shapes with tails, padding, one element rows, few and many channels.
  static func geometries() throws -> [ABNGeometry] {
    try [
      ABNGeometry(outer: 3, channels: 5, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 2, channels: 19, spatial: 6, layout: .channelLast),
      ABNGeometry(outer: 2, channels: 20, spatial: 9, layout: .blocked(16)),
      ABNGeometry(outer: 3, channels: 13, spatial: 7, layout: .blocked(8)),
      ABNGeometry(outer: 37, channels: 33, spatial: 1, layout: .channelSecond),
      ABNGeometry(outer: 5, channels: 16, spatial: 11, layout: .channelLast),
      ABNGeometry(outer: 40, channels: 1, spatial: 5, layout: .channelLast),
      ABNGeometry(outer: 9, channels: 8, spatial: 3, layout: .channelLast),
      ABNGeometry(outer: 4, channels: 3, spatial: 2, layout: .channelSecond),
      // The last chunk of 64 vectors ends where the runs' whole vectors do, and a tail follows.
      ABNGeometry(outer: 64, channels: 2, spatial: 49, layout: .channelSecond),
      // A chunk of 64 vectors ends where a run's whole vectors do, a tail follows, and another run; one of 128.
      ABNGeometry(outer: 65, channels: 8, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 129, channels: 3, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 17, channels: 8, spatial: 196, layout: .channelSecond),
      ABNGeometry(outer: 33, channels: 8, spatial: 36, layout: .channelSecond),
      ABNGeometry(outer: 9, channels: 8, spatial: 49, layout: .blocked(8)),
      ABNGeometry(outer: 1, channels: 2, spatial: 1027, layout: .channelSecond),
      // More than one chunk in the other layouts.
      ABNGeometry(outer: 2, channels: 5, spatial: 700, layout: .channelLast),
      ABNGeometry(outer: 2, channels: 9, spatial: 700, layout: .blocked(16)),
      // Two groups of channels side by side, one more, and a rest; chunks of several tiles if far.
      ABNGeometry(outer: 3, channels: 86, spatial: 23, layout: .channelLast),
    ]
  }

  /// How far results may be off, of the largest magnitude.
  static func tolerance(_ element: ABNElement, _ activation: ABNActivation) -> Double {
    let units: Double =
      if case .elu = activation, activation.isInvertible { 60 } else { 40 }
    return units * element.unitRoundoff
  }

  @Test(arguments: ABNElement.allCases)
  func agreesWithTheReference(_ element: ABNElement) throws {
    for set in Self.sets {
      for geometry in try Self.geometries() {
        for activation in Self.activations(for: geometry) {
          for isGiven in [false, true] {
            let random = LayerInput(geometry, element, activation, seed: 5)
            let input = isGiven ? random.withGivenStatistics() : random
            for outOfPlace in [false, true] {
              try check(LayerRun(input: input, set: set, outOfPlace: outOfPlace))
            }
            if Self.hasTwoRoads(activation) && !isGiven {
              for count in [1, Int.max] {
                try check(LayerRun(input: input, set: set, leastDirectCount: count))
              }
            }
          }
        }
      }
    }
  }

  /// What is asked for ahead is only read sooner: rows aside, whose tiles differ, the bits are the same.
  @Test(arguments: ABNElement.allCases)
  func agreesWhereItAsksAhead(_ element: ABNElement) throws {
    for set in Self.sets {
      for geometry in try Self.geometries() {
        for activation in [ABNActivation.leakyReLU(alpha: 0.01), .elu(alpha: 1), .prelu, .tanh] {
          let input = LayerInput(geometry, element, activation, seed: 6)
          let near = LayerRun(
            input: input, set: set, caches: Caches(sharedBytes: .max, crossedBytes: .max))
          let far = LayerRun(
            input: input, set: set, caches: Caches(sharedBytes: 0, crossedBytes: 0))
          let next = LayerRun(input: input, set: set, caches: Self.askingForNext(geometry, element))
          try check(far)
          if Plan(geometry, element).isRows { continue }
          let bytes = try near().bytes
          #expect(try far().bytes == bytes, "\(set) \(element) \(activation) \(geometry)")
          #expect(try next().bytes == bytes, "\(set) \(element) \(activation) \(geometry)")
        }
      }
    }
  }

  /// Caches with which the second pass over a unit of channels asks for the next one.
  static func askingForNext(_ geometry: ABNGeometry, _ element: ABNElement) -> Caches {
    let tensor = geometry.elementCount * element.bytes
    let caches = Caches(sharedBytes: .max, crossedBytes: .max, victimBytes: 4 * tensor)
    #expect(caches.hold(next: tensor / 2, of: tensor))
    return caches
  }

  func check(_ run: LayerRun) throws {
    let input = run.input
    let result = try run()
    let reference = input.reference
    let tolerance = Self.tolerance(input.element, input.activation)
    let what =
      "\(run.set) \(input.element) \(input.activation) \(input.geometry) out \(run.outOfPlace) given \(input.given != nil)"
    let stored = input.activation.isInvertible ? reference.z : reference.y
    var errors = [
      ("stored", relativeError(result.stored, stored)), ("z", relativeError(result.z, reference.z)),
      ("dx", relativeError(result.dx, reference.dx)),
      ("dscale", relativeError(result.dscale, reference.dscale)),
      ("dbias", relativeError(result.dbias, reference.dbias)),
      ("mean", relativeError(result.mean, reference.mean)),
    ]
    if !input.slopes.isEmpty {
      errors.append(("dslope", relativeError(result.dslope, reference.dslope)))
    }
    if !run.outOfPlace { errors.append(("restored", relativeError(result.restored, input.x))) }
    for (name, error) in errors {
      let allowed =
        switch name {
        case "restored": 4 * tolerance
        // A sum of terms that cancel: the error is that of the terms.
        case "dscale": 2 * tolerance
        default: tolerance
        }
      #expect(error <= allowed, "\(name) off by \(error): \(what)")
    }
    #expect(result.isIntact, "wrote outside: \(what)")
    #expect(result.paddingIsZero, "padding is not zero: \(what)")
  }
}
