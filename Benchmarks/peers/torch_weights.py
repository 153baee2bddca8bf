#!/usr/bin/env python3
"""Weights of ResNet-50 from this package to PyTorch and back: are the outputs the same?

    python3 Benchmarks/peers/torch_weights.py [path of abn] [--image-size 64] [--batch 8]

For in-place and standard normalization, both with leaky_relu of slope 0.01, and for relu:
1. `abn weights init` and `export --names torch`, loaded by PyTorch's load_state_dict, strict;
2. weights drawn by PyTorch, saved, loaded by `abn weights import --names torch`.
Either way both sides run on the same random images: in evaluation mode, where PyTorch's is
`model.eval()`, and with the statistics of the batch, where it is `model.train()` and
`abn predict --batch-statistics`. Prints the largest differences and exits with 1 where one is beyond
the tolerance, or where weights that went out and in are not the same bits.

Needs torch, numpy and safetensors. Without a path the release build of this package is used.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors.torch import load_file, save_file

import torch_networks

# Of the largest logit, in float32: 53 layers of sums in another order. Measured: 1.2e-6 in evaluation,
# 2.9e-5 with the statistics of the batch, where every layer divides by what rounding has changed.
TOLERANCE = 1e-4
CLASSES = 1000
CASES = (("inplace", "leaky_relu"), ("standard", "leaky_relu"), ("standard", "relu"))


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    package = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("abn", nargs="?", default=package / ".build/release/abn")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    return parser.parse_args()


class Side:
    """Runs `abn` in a folder of its own."""

    def __init__(self, command, folder, norm, activation):
        self.command, self.folder = command, folder
        self.network = ["--model", "resnet50", "--norm", norm, "--activation", activation]

    def run(self, *words):
        subprocess.run([self.command, *words], cwd=self.folder, check=True)

    def logits(self, model, images, *flags):
        numpy.save(self.folder / "images.npy", images.numpy())
        self.run("predict", model, "--input", "images.npy", "--output", "logits.npy", *flags)
        return torch.from_numpy(numpy.load(self.folder / "logits.npy"))


def drawn(model):
    """Random values for everything, normalizations and statistics too, that keep a signal alive."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in torch_networks.parameters_by_name(model).items():
            if value.dim() > 1:
                deviation = (2 / value[0].numel()) ** 0.5
                value.normal_(0, deviation, generator=generator)
            elif name.endswith("weight") or name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            else:
                value.uniform_(-0.2, 0.2, generator=generator)


def compare(side, folder, model, images):
    """The largest differences of logits, in evaluation and with the statistics of the batch, of the
    largest logit."""
    found = []
    for train, flags in ((False, ()), (True, ("--batch-statistics",))):
        model.train(train)
        # In training mode a run changes PyTorch's moving statistics.
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            wanted = model(images)
        model.load_state_dict(before)
        ours = side.logits(folder, images, *flags)
        assert ours.shape == wanted.shape, (ours.shape, wanted.shape)
        found.append(((ours - wanted).abs().max() / wanted.abs().max()).item())
    return found


def main():
    options = parse()
    torch.set_num_threads(2)
    images = torch.randn(
        options.batch, 3, options.image_size, options.image_size,
        generator=torch.Generator().manual_seed(7),
    )
    good = True

    def report(case, what, differences):
        nonlocal good
        right = all(difference <= TOLERANCE for difference in differences)
        good = good and right
        print(
            f"{case:22} {what:16} evaluation {differences[0]:.1e}  batch {differences[1]:.1e}"
            f"{'' if right else '  BEYOND ' + str(TOLERANCE)}"
        )

    print(f"PyTorch {torch.__version__}, largest difference of the largest logit, "
          f"images {tuple(images.shape)}")
    for norm, activation in CASES:
        case = f"{norm}, {activation}"
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            side = Side(pathlib.Path(options.abn).resolve(), folder, norm, activation)
            model = torch_networks.resnet50(CLASSES, activation)

            side.run("weights", "init", *side.network, "--seed", "5", "--output", "ours")
            side.run("weights", "export", "ours", "--names", "torch", "--output", "ours.safetensors")
            model.load_state_dict(load_file(folder / "ours.safetensors"), strict=True)
            report(case, "abn to PyTorch", compare(side, "ours", model, images))

            drawn(model)
            weights = torch_networks.parameters_by_name(model)
            save_file(weights, folder / "theirs.safetensors")
            side.run("weights", "import", "theirs.safetensors", *side.network, "--names", "torch",
                     "--output", "theirs")
            report(case, "PyTorch to abn", compare(side, "theirs", model, images))

            side.run("weights", "export", "theirs", "--names", "torch", "--output",
                     "back.safetensors")
            back = load_file(folder / "back.safetensors")
            same = back.keys() == weights.keys() and all(
                torch.equal(back[key], weights[key]) for key in back)
            good = good and same
            print(f"{case:22} out and in: {'the same bits' if same else 'OTHER BITS'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
