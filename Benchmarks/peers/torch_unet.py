#!/usr/bin/env python3
"""U-Net side by side: training steps of `abn bench model` and of PyTorch (channels last) take turns.

    python3 Benchmarks/peers/torch_unet.py [--batch 8] [--image 3x368x480] [--width 64]
        [--classes 11] [--steps 3] [--rounds 3] [--threads 2] [--abn .build/release/abn]

Both train the same layers in float32 on random images: batch normalization with leaky ReLU, cross
entropy over the pixels, SGD with momentum 0.9. PyTorch normalizes apart and activates in place. Each
round runs either in a process of its own; a side's time of a round is the median of the steps after
its first. Prints one JSON object: the medians over the rounds in seconds (abnSeconds, torchSeconds),
the median of the rounds' ratios (timeRatio, PyTorch's time over ours), the largest peaks of resident
memory above what it was before the first step (abnPeakBytes, torchPeakBytes), and their ratio
(peakRatio, ours over PyTorch's). --rounds 0 runs PyTorch's side alone, once. A width of 64 is `unet`, one
of 16 `unet-small`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

import torch_networks
from torch_model import peak_bytes, positive

NAMES = {64: "unet", 16: "unet-small"}


def sizes(text):
    numbers = tuple(positive(part) for part in text.split("x"))
    if len(numbers) != 3 or any(number % 16 for number in numbers[1:]):
        raise argparse.ArgumentTypeError(
            f"{text}: CHANNELSxHEIGHTxWIDTH, height and width multiples of 16"
        )
    return numbers


def rounds(text):
    return 0 if text == "0" else positive(text)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--image", type=sizes, default=(3, 368, 480))
    parser.add_argument("--width", type=int, choices=NAMES, default=64)
    parser.add_argument("--classes", type=positive, default=11)
    parser.add_argument("--steps", type=positive, default=3)
    parser.add_argument("--rounds", type=rounds, default=3)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--abn", default=".build/release/abn")
    return parser.parse_args()


def torch_side(options):
    """Median seconds of a step of PyTorch, and its peak above the base."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    channels, height, width = options.image
    model = torch_networks.unet(channels, options.classes, width=options.width)
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(options.batch, channels, height, width)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, options.classes, (options.batch, height, width))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    base = peak_bytes()
    seconds = []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return {
        "stepSeconds": statistics.median(seconds[1:]),
        "peakBytes": peak_bytes() - base,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def output_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    return json.loads(done.stdout)


def main():
    options = parse()
    if options.rounds == 0:
        print(json.dumps(torch_side(options)))
        return
    shared = ["--steps", str(options.steps), "--threads", str(options.threads)]
    shared += ["--classes", str(options.classes), "--image", "x".join(map(str, options.image))]
    ours = [options.abn, "bench", "model", "--model", NAMES[options.width], "--no-floor", "--json"]
    ours += ["--batch-size", str(options.batch)] + shared
    theirs = [sys.executable, os.path.abspath(__file__), "--rounds", "0"]
    theirs += ["--batch", str(options.batch), "--width", str(options.width)] + shared
    ratios, mine, other = [], [], []
    for _ in range(options.rounds):
        mine.append(output_of(ours))
        other.append(output_of(theirs))
        ratios.append(other[-1]["stepSeconds"] / mine[-1]["stepSeconds"])
    peak = max(side["measuredPeakBytes"] for side in mine)
    other_peak = max(side["peakBytes"] for side in other)
    print(
        json.dumps(
            {
                "abnSeconds": statistics.median(side["stepSeconds"] for side in mine),
                "torchSeconds": statistics.median(side["stepSeconds"] for side in other),
                "timeRatio": statistics.median(ratios),
                "abnPeakBytes": peak,
                "torchPeakBytes": other_peak,
                "peakRatio": peak / other_peak,
                "torch": other[0]["torch"],
                "threads": other[0]["threads"],
            }
        )
    )


if __name__ == "__main__":
    main()
