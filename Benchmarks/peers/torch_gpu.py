#!/usr/bin/env python3
"""The peer of `abn bench model` and `abn bench layer` on a card: PyTorch, timed.

    torch_gpu.py resnet50 BATCH f32|tf32|bf16 nchw|nhwc none|default|reduce-overhead [options]
    torch_gpu.py layer NxCxHxW f32|bf16 nchw|nhwc eager|compiled [options]

    --against COMMAND   runs this between the rounds; it prints JSON with stepSeconds and
                        measuredPeakBytes, or with milliseconds
    --rounds COUNT      how often both sides take their turn (default 3)

Prints one JSON object: the median milliseconds of every round of both sides, the ratio of their
medians, and the peaks in MiB. The layer's time is the sum of its kernels, without the gaps between
them; what runs before a graph can be replayed, and compilation, are not counted.
"""

import argparse
import json
import shlex
import statistics
import subprocess

import torch
import torch.nn as nn
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def median_of_events(step, count):
    times = []
    for _ in range(count):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        step()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def layer(arguments):
    sizes = [int(size) for size in arguments.size.split("x")]
    dtype = DTYPES[arguments.precision]
    form = torch.channels_last if arguments.layout == "nhwc" else torch.contiguous_format
    elements = torch.Size(sizes).numel()
    # Several tensors in turn, so that the cache does not hold the one that comes next.
    copies = max(1, min(8, 400_000_000 // (elements * dtype.itemsize)))

    def random():
        return torch.randn(sizes, device="cuda", dtype=dtype).contiguous(memory_format=form)

    inputs = [random().requires_grad_() for _ in range(copies)]
    gradients = [random() for _ in range(copies)]
    norm = nn.BatchNorm2d(sizes[1]).cuda()

    def forward(x):
        return F.leaky_relu(norm(x), 0.01, inplace=True)

    run = torch.compile(forward) if arguments.mode == "compiled" else forward
    turn = 0

    def step():
        nonlocal turn
        turn = (turn + 1) % copies
        run(inputs[turn]).backward(gradients[turn])
        inputs[turn].grad = None

    for _ in range(5):
        step()
    torch.cuda.synchronize()

    def measure():
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as traced:
            for _ in range(10):
                step()
            torch.cuda.synchronize()
        on_card = torch.autograd.DeviceType.CUDA
        kernels = [e.device_time for e in traced.events() if e.device_type == on_card]
        return sum(kernels) / 10_000

    return measure, lambda: torch.cuda.max_memory_allocated() >> 20


def resnet50(arguments):
    import torchvision

    batch, precision = int(arguments.size), arguments.precision
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision != "f32"
    torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
    form = torch.channels_last if arguments.layout == "nhwc" else torch.contiguous_format
    model = torchvision.models.resnet50().cuda().to(memory_format=form)
    images = torch.randn(batch, 3, 224, 224, device="cuda").contiguous(memory_format=form)
    labels = torch.randint(0, 1000, (batch,), device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)

    def loss(images, labels):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            return F.cross_entropy(model(images), labels)

    mode = None if arguments.mode == "default" else arguments.mode
    run = loss if arguments.mode == "none" else torch.compile(loss, mode=mode)

    def step():
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        run(images, labels).backward()
        optimizer.step()

    for _ in range(4):
        step()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    # With CUDA graphs the pool of the graphs is held and not counted as allocated.
    return lambda: median_of_events(step, 10), lambda: torch.cuda.max_memory_allocated() >> 20


def other_side(command):
    text = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True).stdout
    result = json.loads(text)
    milliseconds = result["stepSeconds"] * 1e3 if "stepSeconds" in result else result["milliseconds"]
    return milliseconds, result.get("measuredPeakBytes", 0) >> 20


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=["resnet50", "layer"])
    parser.add_argument("size")
    parser.add_argument("precision", choices=["f32", "tf32", "bf16", "f16"])
    parser.add_argument("layout", choices=["nchw", "nhwc"])
    parser.add_argument("mode")
    parser.add_argument("--against")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    measure, peak = (resnet50 if arguments.what == "resnet50" else layer)(arguments)
    own, others, other_peak = [], [], None
    for _ in range(arguments.rounds):
        own.append(measure())
        if arguments.against:
            milliseconds, other_peak = other_side(arguments.against)
            others.append(milliseconds)
    result = {
        "what": f"{arguments.what} {arguments.size} {arguments.precision} {arguments.layout} {arguments.mode}",
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "milliseconds": own,
        "peakMiB": peak(),
        "reservedMiB": torch.cuda.max_memory_reserved() >> 20,
    }
    if others:
        result["against"] = others
        result["ratio"] = statistics.median(others) / statistics.median(own)
        result["againstPeakMiB"] = other_peak
    print(json.dumps(result))


if __name__ == "__main__":
    main()
