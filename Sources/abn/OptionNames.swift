import InPlaceABN

extension ABNError {
  /// The same error of a setting with the option of `abn train` that says it.
  var namingOption: ABNError {
    let words = what.split(separator: ": ", maxSplits: 1).map(String.init)
    let what = words.count == 2 && Self.groups.contains(words[0]) ? words[1] : what
    guard let option = Self.options[what] else { return self }
    return ABNError(
      category, "--\(option) (\(what))", at: location, got: got, wanted: wanted, fix: fix)
  }

  /// What stands before the name of a setting in errors.
  private static let groups: Set = ["batch loader", "optimizer", "parameter rules", "checkpoints"]

  /// The options by what errors call their settings, where that is not the name of the option.
  private static let options = [
    "epochs": "epochs", "batch size": "batch-size", "learning rate": "lr", "momentum": "momentum",
    "weight decay": "weight-decay", "output": "output", "workers": "workers",
    "batches of an update": "accumulate", "warm-up": "warmup-epochs",
    "decay of the weights' average": "ema", "patience, in epochs": "patience",
    "time budget": "time-budget", "limit of batches": "limit-batches",
    "batches to overfit": "overfit", "sanity batches": "sanity-batches",
    "memory budget, in bytes": "memory-budget", "minutes": "checkpoint-minutes",
    "kept every so many epochs": "checkpoint-epochs", "limit": "keep-checkpoints",
    "validation share": "val-split", "picture cache": "cache", "threads": "workers",
    "image size": "image-size", "erasing": "random-erasing", "label smoothing": "label-smoothing",
    "mixup": "mixup", "cutmix": "cutmix", "brightness": "color-jitter",
    "layer decay": "layer-decay",
    "beta1": "betas", "beta2": "betas", "clip": "clip", "betas": "betas",
  ]
}
