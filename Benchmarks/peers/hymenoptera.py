#!/usr/bin/env python3
"""The peer of `abn train --config recipes/hymenoptera.yaml`: ResNet-18 on a folder of photographs in PyTorch.

    python3 Benchmarks/peers/hymenoptera.py DIR [--seeds 0,1,2] [--epochs 30] [--batch-size 32] [--lr 0.05]
        [--size 224] [--weights FILE] [--activation leaky_relu|relu] [--threads 2] [--workers 2]

The recipe is that of the file: weights of He et al. (the convolutions) and Glorot and Bengio (the last
layer), leaky ReLU of slope 0.01, SGD with Nesterov's momentum 0.9 and decay 1e-4 on everything, one cycle
(three tenths of the steps up from a 25th of the rate, then down to a 250,000th, cosines), random resized crops
and flips, the last batch kept. DIR has train/CLASS and val/CLASS; files that are no JPEG or PNG are passed over.
Validation resizes the shorter side to 8/7 of the size and cuts the centre.

--weights begins with the tensors of a file (.safetensors, .npz, or PyTorch's own) that have torchvision's names;
another head is left out. Prints a line an epoch on standard error, and at the end one JSON object: the top-1
after the last epoch and the best one of each seed, and the seconds. Needs torch and torchvision.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time

import torch
import torchvision
from torch import nn
from torchvision import transforms

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SLOPE = 0.01
ENDINGS = (".jpg", ".jpeg", ".png")


def replace_activations(module, activation):
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, activation())
        else:
            replace_activations(child, activation)


def network(classes, activation):
    model = torchvision.models.resnet18(weights=None, num_classes=classes)
    if activation == "leaky_relu":
        replace_activations(model, lambda: nn.LeakyReLU(SLOPE, inplace=True))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    nn.init.xavier_uniform_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    return model


def read_weights(path):
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    if path.endswith(".npz"):
        import numpy

        return {name: torch.from_numpy(value) for name, value in numpy.load(path).items()}
    found = torch.load(path, map_location="cpu", weights_only=True)
    return found.get("state_dict", found)


def load_weights(model, path):
    own = model.state_dict()
    found = {name.removeprefix("module."): value for name, value in read_weights(path).items()}
    taken = {name: v for name, v in found.items() if name in own and own[name].shape == v.shape}
    wanted = [name for name in own if not name.endswith("num_batches_tracked")]
    missing = [name for name in wanted if name not in taken]
    if set(missing) - {"fc.weight", "fc.bias"}:
        sys.exit(f"{path}: not in it, or of another shape: {', '.join(missing)}")
    model.load_state_dict(taken, strict=False)
    return missing


def folders(args):
    normalize = [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    train = transforms.Compose(
        [transforms.RandomResizedCrop(args.size), transforms.RandomHorizontalFlip()] + normalize
    )
    held_out = transforms.Compose(
        [transforms.Resize(args.size * 8 // 7), transforms.CenterCrop(args.size)] + normalize
    )

    def folder(part, transform):
        return torchvision.datasets.ImageFolder(
            f"{args.folder}/{part}", transform, is_valid_file=lambda p: p.lower().endswith(ENDINGS)
        )

    return folder("train", train), folder("val", held_out)


def one_cycle(steps):
    """The share of the highest rate at a step."""

    def half_cosine(start, end, part):
        return end + (start - end) * (1 + math.cos(math.pi * part)) / 2

    def share(step):
        last = max(1, steps - 1)
        summit, time_now = 0.3 * last, min(step, last)
        if time_now < summit:
            return half_cosine(1 / 25, 1, time_now / summit)
        return half_cosine(1, 1 / 25e4, (time_now - summit) / (last - summit))

    return share


def seed_worker(_):
    random.seed(torch.initial_seed() % 2**32)


def evaluate(model, loader):
    model.eval()
    right = total = 0
    with torch.inference_mode():
        for images, labels in loader:
            right += (model(images).argmax(1) == labels).sum().item()
            total += len(labels)
    return right / total


def train(args, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    train_data, held_out_data = folders(args)
    more = {"num_workers": args.workers, "worker_init_fn": seed_worker}
    more["persistent_workers"] = args.workers > 0
    loader = torch.utils.data.DataLoader(train_data, args.batch_size, shuffle=True, **more)
    held_out = torch.utils.data.DataLoader(held_out_data, args.batch_size, **more)
    model = network(len(train_data.classes), args.activation)
    if args.weights:
        missing = load_weights(model, args.weights)
        print(f"{args.weights}: first values for {missing or 'nothing'}", file=sys.stderr)
    optimizer = torch.optim.SGD(
        model.parameters(), args.lr, momentum=0.9, nesterov=True, weight_decay=args.weight_decay
    )
    steps = args.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, one_cycle(steps))
    start, found = time.monotonic(), []
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        found.append(evaluate(model, held_out))
        print(
            f"seed {seed}  epoch {epoch + 1}/{args.epochs}  loss {total / len(train_data):.4f}"
            f"  top-1 {found[-1]:.4f}  {time.monotonic() - start:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return {
        "seed": seed,
        "top1": found[-1],
        "best": max(found),
        "seconds": round(time.monotonic() - start, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights")
    parser.add_argument("--activation", choices=["leaky_relu", "relu"], default="leaky_relu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = [train(args, int(seed)) for seed in args.seeds.split(",")]
    top1 = [run["top1"] for run in runs]
    result = {
        "runs": runs,
        "top1Mean": statistics.mean(top1),
        "top1Least": min(top1),
        "top1Most": max(top1),
        "weights": args.weights,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
