import Foundation
import Testing

/// What is wrong with an option is said with the option's name, and what is meant is guessed right.
@Suite(.serialized) struct OptionMistakeTests {
  /// Each option of `abn train` that takes a number, with one that it cannot take.
  @Test func everyNumberNamesItsOption() throws {
    let place = try Workplace()
    let wrong = [
      ("epochs", "0"), ("batch-size", "1"), ("lr", "-1"), ("weight-decay", "-1"),
      ("val-split", "2"), ("image-size", "0"), ("color-jitter", "9"), ("random-erasing", "2"),
      ("mixup", "-1"), ("cutmix", "-1"), ("label-smoothing", "1"), ("workers", "0"),
      ("cache", "much"), ("momentum", "1"), ("betas", "1,0.9"), ("betas", "0.9,1"),
      ("layer-decay", "2"), ("warmup-epochs", "1000"), ("clip", "norm:-1"), ("accumulate", "0"),
      ("ema", "1"), ("memory-budget", "0"), ("limit-batches", "0"), ("overfit", "0"),
      ("sanity-batches", "-1"), ("patience", "0"), ("time-budget", "soon"),
      ("checkpoint-minutes", "-1"), ("checkpoint-epochs", "0"), ("keep-checkpoints", "0"),
      ("threads", "0"), ("seed", "-1"),
    ]
    for (option, value) in wrong {
      let optimizer = option == "betas" ? ["--optimizer", "adam"] : []
      let run = try place.start(
        ["train", "--output", "run", "--\(option)", value] + optimizer
      ).finish()
      #expect(run.status > 0 && run.errorLines.count == 1, "\(option): \(run.errors)")
      #expect(run.errors.contains("--\(option)"), "\(run.errors)")
    }
    #expect(place.files("run").isEmpty)
  }

  @Test(arguments: [
    ("--memory-budget", "2G", "GiB (powers of 1024) or GB"), ("--device", "gpu", "\"cuda\""),
    ("--device", "cud", "\"cuda\""), ("--memory-budget", "3MiBs", "\"MiB\""),
  ])
  func whatIsMeantIsGuessed(option: String, value: String, guess: String) throws {
    let run = try Workplace().abn("train", option, value)
    #expect(
      run.status > 0 && run.errorLines.count == 1 && run.errors.contains(guess), "\(run.errors)")
  }

  /// An option that the chosen optimizer does not have is not passed over in silence.
  @Test func whatMeansNothingIsSaid() throws {
    let place = try Workplace()
    let run = try place.train(
      "--optimizer", "adam", "--momentum", "0.8", "--lr", "1e-3", "--output", "run")
    #expect(run.status == 0 && run.errors.contains("--momentum means nothing"), "\(run.errors)")
    // What is written beside the results says nothing of it, and so nothing is said again.
    let again = try place.abn(
      "train", "--config", "run/settings.yaml", "--output", "again")
    #expect(again.status == 0 && !again.errors.contains("means nothing"), "\(again.errors)")
  }

  /// A recipe that an editor saved with a byte order mark; silu is swish.
  @Test func aRecipeWithAMark() throws {
    let place = try Workplace()
    try place.write(
      "recipe.yaml", [0xEF, 0xBB, 0xBF] + Array("model: mlp\nepochs: 1\nactivation: silu".utf8))
    let run = try place.abn("train", "--config", "recipe.yaml", "--output", "run")
    #expect(run.status == 0, "\(run.errors)")
    let settings = try #require(
      object(place.data("run/summary.json"))["settings"] as? [String: String])
    #expect(settings["model"] == "mlp" && settings["activation"] == "swish")
  }

  /// Batches that are learned by heart are not held out.
  @Test func whatIsLearnedByHeartIsNotHeldOut() throws {
    let run = try Workplace().abn(
      "train", "--model", "mlp", "--overfit", "1", "--epochs", "1", "--output", "run")
    #expect(run.status == 0 && run.output.contains("trained accuracy"), "\(run.output)")
    #expect(!(run.output + run.errors).contains("held"), "\(run.output) \(run.errors)")
  }
}
