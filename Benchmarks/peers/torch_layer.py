#!/usr/bin/env python3
"""The peer of `abn bench layer`: PyTorch's BatchNorm and activation (in place), timed.

    python3 Benchmarks/peers/torch_layer.py 64x64x112x112 [leaky_relu|elu|relu] [threads]

Prints one JSON object: medians of the forward and the backward pass of training in milliseconds,
on random float32 data in PyTorch's contiguous layout, and the version.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn

REPETITIONS = 9
# As `abn bench layer`: cores that come from rest are slow at first.
WARM_SECONDS = 0.1


def layer_of(sizes, activation):
    norms = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    activations = {
        "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
        "elu": lambda: nn.ELU(0.01, inplace=True),
        "relu": lambda: nn.ReLU(inplace=True),
    }
    return nn.Sequential(norms[len(sizes)](sizes[1]), activations[activation]())


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sizes = [int(size) for size in sys.argv[1].split("x")]
    activation = sys.argv[2] if len(sys.argv) > 2 else "leaky_relu"
    torch.set_num_threads(int(sys.argv[3]) if len(sys.argv) > 3 else 2)
    layer = layer_of(sizes, activation)
    source = torch.rand(sizes) * 2 - 1
    incoming = torch.rand(sizes) * 2 - 1
    forward, backward = [], []
    warm = time.perf_counter() + WARM_SECONDS
    is_warm = False
    while len(forward) < REPETITIONS:
        # A result of its own, as of a convolution: a leaf may not be overwritten.
        hidden = source.clone().requires_grad_(True) + 0
        start = time.perf_counter()
        output = layer(hidden)
        middle = time.perf_counter()
        output.backward(incoming)
        end = time.perf_counter()
        if is_warm:
            forward.append((middle - start) * 1e3)
            backward.append((end - middle) * 1e3)
        is_warm = end >= warm
    print(
        json.dumps(
            {
                "forwardMilliseconds": statistics.median(forward),
                "backwardMilliseconds": statistics.median(backward),
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
