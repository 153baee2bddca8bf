#!/usr/bin/env python3
"""The peer of `abn bench model`: ResNet-50 with batch normalization and ReLU in PyTorch, timed.

    python3 Benchmarks/peers/torch_model.py BATCH SIZE [contiguous|channels_last]
        [--mode train|infer] [--steps 5] [--threads 2]

train: steps of SGD (momentum 0.9, decay 1e-4) on random images, in float32. infer: the network in
evaluation mode without gradients. Prints one JSON object: the median of the steps after the first in
seconds (stepSeconds or inferenceSeconds), the largest resident memory of the process and what it was
before the first step (peakBytes, baseBytes), the version and the layout.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

import torch_networks

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def peak_bytes():
    """The largest resident size of this process so far."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status does not tell VmHWM")


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: a number of at least 1")
    return number


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("batch", type=positive)
    parser.add_argument("size", type=positive)
    parser.add_argument("layout", nargs="?", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--steps", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=2)
    return parser.parse_args()


def training_step(model, images):
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    labels = torch.randint(0, 1000, (len(images),))

    def step():
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def inference_step(model, images):
    model.eval()

    def step():
        with torch.no_grad():
            model(images)

    return step


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layout = LAYOUTS[options.layout]
    model = torch_networks.resnet50().to(memory_format=layout)
    images = torch.randn(options.batch, 3, options.size, options.size)
    images = images.contiguous(memory_format=layout)
    make = training_step if options.mode == "train" else inference_step
    step = make(model, images)
    base = peak_bytes()
    seconds = []
    # The first step makes primitives, gradients and the optimizer's state.
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    key = "stepSeconds" if options.mode == "train" else "inferenceSeconds"
    print(
        json.dumps(
            {
                key: statistics.median(seconds[1:]),
                "peakBytes": peak_bytes(),
                "baseBytes": base,
                "torch": torch.__version__,
                "layout": options.layout,
                "threads": torch.get_num_threads(),
                "batch": options.batch,
                "size": options.size,
            }
        )
    )


if __name__ == "__main__":
    main()
