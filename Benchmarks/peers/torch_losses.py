#!/usr/bin/env python3
"""The losses of 20 training steps of ResNet-50 in float64: the numbers in ResNet50LossTests.

    python3 Benchmarks/peers/torch_losses.py

Weights, images and labels are made as Tests/TrainingTests/ResNet50LossTests.swift makes them, for the
whole network and for one of a quarter of its width. Prints the losses before each update, and beside
each how far PyTorch's own float32 is away.
"""

import math

import torch
from torch import nn

import torch_networks

STEPS = 20
CLASSES = 10
IMAGES = (4, 3, 64, 64)
LEARNING_RATE = 2.0**-13
# Large, so that forgetting it would be seen.
DECAY = 2.0**-5


def set_weights(model):
    tile = (2 * torch_networks.philox(3, 5, 4093) - 1).float()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() > 1:
                inputs = value[0].numel()
                fans = inputs if value.dim() == 4 else inputs + value.shape[0]
                scaled = tile * torch.tensor(math.sqrt(6 / fans), dtype=torch.float32)
                count = value.numel()
                value.copy_(scaled.repeat(-(-count // len(tile)))[:count].view(value.shape))
            elif name.endswith("bn3.weight"):
                value.fill_(0.1)
            else:
                value.fill_(1 if name.endswith("weight") else 0)


def losses(dtype, width):
    model = torch_networks.resnet50(CLASSES, "leaky_relu", width)
    set_weights(model)
    model.to(dtype)
    count = math.prod(IMAGES)
    images = (torch_networks.philox(9, 0, count) - 0.5).float().to(dtype).view(IMAGES)
    labels = torch.arange(IMAGES[0]) * 7 % CLASSES
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=DECAY)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    # The order of sums, and with it the float32 column, does not depend on the machine's cores.
    torch.set_num_threads(1)
    print("PyTorch", torch.__version__)
    for width in (16, 64):
        print("width", width)
        for exact, rounded in zip(losses(torch.float64, width), losses(torch.float32, width)):
            print(f"{exact!r},  // float32 {rounded - exact:+.1e}")


if __name__ == "__main__":
    main()
