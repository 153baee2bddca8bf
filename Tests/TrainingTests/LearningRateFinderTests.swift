import ABNOperators
import ABNTensors
import ABNTraining
import Foundation
import Testing

@Suite struct LearningRateFinderTests {
  /// A loss that stays, falls like a logistic curve around a rate, and explodes after another.
  private func search(
    around rate: Double, until broken: Double, noise: Double = 0, steps: Int = 120
  ) throws -> LearningRateFinder {
    var finder = try LearningRateFinder(steps: steps)
    let random = CounterRandom(seed: 4, stream: 9)
    for step in 0..<steps {
      let now = finder.schedule.value(step: step)
      let fallen = 2 / (1 + pow(rate / now, 2))
      let explosion = pow(now / broken, 3)
      let loss = 2.5 - fallen + explosion + noise * (random.uniform(UInt64(step)) - 0.5)
      if !finder.add(loss: loss) { break }
    }
    return finder
  }

  @Test func ratesGrowByOneFactor() throws {
    let finder = try LearningRateFinder(from: 1e-4, to: 1, steps: 41)
    #expect(finder.schedule.value(step: 0) == 1e-4)
    #expect(abs(finder.schedule.value(step: 40) - 1) < 1e-12)
    for step in 0..<40 {
      let factor = finder.schedule.value(step: step + 1) / finder.schedule.value(step: step)
      #expect(abs(factor - pow(10, 0.1)) < 1e-12)
    }
  }

  @Test(arguments: [1e-3, 1e-2, 0.1]) func findsWhereTheLossFalls(_ rate: Double) throws {
    let finder = try search(around: rate, until: 30 * rate)
    let found = try #require(finder.suggestion)
    // Smoothing moves it up: by less than some ten steps of 14 % each.
    #expect(found > rate / 2 && found < 5 * rate, "\(found)")
    #expect(finder.hasDiverged)
    #expect(finder.points.count < 120)
    #expect(finder.points.last!.smoothed > 4 * finder.points.map(\.smoothed).min()!)
    #expect(finder.points.dropLast().allSatisfy { $0.smoothed <= 4 * 2.5 })
    let noisy = try #require(try search(around: rate, until: 30 * rate, noise: 0.2).suggestion)
    #expect(noisy > rate / 4 && noisy < 8 * rate, "\(noisy)")
  }

  @Test func meansAreCorrectedForTheirStart() throws {
    var finder = try LearningRateFinder(smoothing: 0.9)
    for loss in [3.0, 1, 2] { finder.add(loss: loss) }
    let wanted = [3, (0.1 * 0.9 * 3 + 0.1) / 0.19, (0.1 * 0.81 * 3 + 0.1 * 0.9 + 0.2) / 0.271]
    for (point, value) in zip(finder.points, wanted) {
      #expect(abs(point.smoothed - value) < 1e-12)
    }
    #expect(finder.points.map(\.loss) == [3, 1, 2])
  }

  @Test(arguments: [Double.nan, .infinity]) func stopsAtWhatIsNoNumber(_ bad: Double) throws {
    var finder = try LearningRateFinder(steps: 20)
    for step in 0..<12 {
      let goesOn = finder.add(loss: 2 - 0.1 * Double(step))
      #expect(goesOn)
    }
    let afterBad = finder.add(loss: bad)
    #expect(!afterBad)
    #expect(finder.hasDiverged && finder.points.count == 12 && !finder.wantsMore)
    let before = finder
    let afterEnd = finder.add(loss: 1)
    #expect(!afterEnd && finder == before)
  }

  @Test func whereNothingFallsNothingIsSuggested() throws {
    var rising = try LearningRateFinder(steps: 20)
    for step in 0..<20 { rising.add(loss: 1 + 0.01 * Double(step)) }
    #expect(rising.suggestion == nil && !rising.hasDiverged && !rising.wantsMore)
    var few = try LearningRateFinder(steps: 20)
    for step in 0..<9 { few.add(loss: 9 - Double(step)) }
    #expect(few.suggestion == nil)
    few.add(loss: 0.5)
    #expect(few.suggestion != nil)
  }

  /// Small batches have losses that jump: what they do by chance is no suggestion.
  @Test func noiseIsNoFall() throws {
    for seed in 0..<40 {
      var finder = try LearningRateFinder(steps: 100)
      let random = CounterRandom(seed: UInt64(seed), stream: 3)
      for step in 0..<100 {
        let rising = 0.5 * pow(finder.schedule.value(step: step), 2)
        if !finder.add(loss: 2.3 + rising + 0.8 * (random.uniform(UInt64(step)) - 0.5)) { break }
      }
      #expect(finder.suggestion == nil, "seed \(seed): \(finder.suggestion ?? 0)")
    }
  }

  @Test func numbersOutOfRange() {
    #expect(throws: ABNError.self) { try LearningRateFinder(from: 0) }
    #expect(throws: ABNError.self) { try LearningRateFinder(from: 1, to: 1) }
    #expect(throws: ABNError.self) { try LearningRateFinder(to: .infinity) }
    #expect(throws: ABNError.self) { try LearningRateFinder(steps: 9) }
    #expect(throws: ABNError.self) { try LearningRateFinder(smoothing: 1) }
    #expect(throws: ABNError.self) { try LearningRateFinder(divergence: 1) }
  }

  @Test func thePlotIsWellFormedAndShowsTheRate() throws {
    let finder = try search(around: 0.01, until: 0.3, noise: 0.3)
    let svg = LearningRatePlot(finder).svg
    #expect(svg.contains(String(format: "%.3g", finder.suggestion!)))
    #expect(svg.contains("prefers-color-scheme: dark"))
    for text in [svg, LearningRatePlot(try LearningRateFinder()).svg] {
      // Elements are closed in the order in which they were opened, and no number is missing.
      var open: [Substring] = []
      for match in text.matches(of: /<(\/?)(\w+)[^>]*?(\/?)>/) where match.3.isEmpty {
        if match.1.isEmpty {
          open.append(match.2)
          continue
        }
        let last = open.popLast()
        #expect(last == match.2)
      }
      #expect(open.isEmpty && !text.contains("nan") && !text.contains("inf"))
    }
    let paths = svg.matches(of: /class='(?:loss|smoothed)' d='(M[^']*)'/)
    let lengths = paths.map { $0.1.split(separator: "L").count }
    #expect(lengths.count { $0 == finder.points.count } == 2)
  }
}
