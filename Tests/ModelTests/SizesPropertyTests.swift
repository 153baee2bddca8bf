import ABNTestSupport
import InPlaceABN
import Testing

/// What a model says about the images it takes is true, and what it refuses it refuses by naming sizes.
@Suite struct SizesPropertyTests {
  private func build(_ model: Model, _ height: Int, _ width: Int) throws -> Shape {
    try ProgramBuilder(seed: 1).build {
      let images = try data("images", shape: [2, model.image[0], height, width])
      return try model.build(images, ModelOptions(classes: 3)).shape
    }
  }

  private func check(_ model: Model, _ height: Int, _ width: Int) {
    let isTaken = model.sizes.admits(height) && model.sizes.admits(width)
    do {
      let logits = try build(model, height, width)
      #expect(isTaken, "\(model.name) takes \(height) x \(width)")
      let shape: Shape = logits.rank == 2 ? [2, 3] : [2, 3, height, width]
      #expect(logits == shape, "\(model.name), \(height) x \(width)")
    } catch {
      #expect(!isTaken, "\(model.name), \(height) x \(width): \(error)")
      let text = "\(error)"
      #expect(
        text.contains("\(height) x \(width)") && text.contains("at least \(model.sizes.least)"),
        "\(model.name), \(height) x \(width): \(text)")
    }
  }

  /// The least size and the one below, for every model that has one.
  @Test func theLimits() {
    for model in Model.all where model.sizes != ImageSizes() {
      let (least, multiple) = (model.sizes.least, model.sizes.multiple)
      check(model, least, least)
      if least > multiple { check(model, least, least - multiple) }
      check(model, least + multiple, least)
      if multiple > 1 { check(model, least + multiple / 2, least) }
    }
  }

  @Test func anySize() {
    let random = CounterRandom(seed: soakSeed, stream: 0x7A65)
    for number in 0..<UInt64(12 * soakFactor) {
      func draw(_ stream: UInt64, _ count: Int) -> Int {
        Int(random.bits(number * 4 + stream)) % count
      }
      check(Model.all[draw(0, Model.all.count)], 1 + draw(1, 70), 1 + draw(2, 70))
    }
  }

  @Test func theNearestAreNamed() throws {
    func message(_ height: Int, _ width: Int) -> String {
      do {
        return "\(try build(.unet, height, width))"
      } catch { return "\(error)" }
    }
    #expect(message(17, 23).contains("got 17 x 23"))
    #expect(message(17, 23).contains("The nearest that work: 16 x 16 and 32 x 32."))
    #expect(message(16, 40).contains("The nearest that work: 16 x 32 and 16 x 48."))
    #expect(message(3, 16).contains("The nearest that work: 16 x 16."))
    #expect(message((1 << 31) - 1, 16).contains("multiples of 16"))
    // Images that no program admits, whatever the network.
    #expect(message(.max, 16).contains("wanted at most"))
  }
}
