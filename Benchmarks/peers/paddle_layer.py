#!/usr/bin/env python3
"""The peer of `abn bench layer`: the original layer, fluid.layers.inplace_abn of PaddlePaddle 1.8.5.

    python3.8 Benchmarks/peers/paddle_layer.py 32x64x56x56 [inplace|standard] [leaky_relu|elu]

Times training steps of the layer under a mean, on random float32 data that are the layer's input by way
of a product with 1, and the same program without the layer; the difference is the layer. Prints one JSON
object: medians in milliseconds (layerMilliseconds, programMilliseconds, emptyMilliseconds) and the
version. PaddlePaddle 1.8.5 needs Python 3.8, protobuf below 3.21 and numpy 1.19.
"""

import json
import statistics
import sys
import time

import numpy
from paddle import fluid
import paddle

REPETITIONS = 9
ALPHA = 0.01


def layer_of(hidden, style, activation):
    if style == "inplace":
        return fluid.layers.inplace_abn(hidden, act=activation, act_alpha=ALPHA)
    normalized = fluid.layers.batch_norm(hidden)
    if activation == "elu":
        return fluid.layers.elu(normalized, ALPHA)
    return fluid.layers.leaky_relu(normalized, ALPHA)


def milliseconds(sizes, apply):
    """The median time of a step of a program around `apply`."""
    main, startup = fluid.Program(), fluid.Program()
    with fluid.program_guard(main, startup):
        start = fluid.initializer.NumpyArrayInitializer(
            numpy.random.RandomState(1).uniform(-1, 1, sizes).astype("float32")
        )
        source = fluid.layers.create_parameter(
            sizes, "float32", name="source", default_initializer=start
        )
        loss = fluid.layers.mean(apply(fluid.layers.scale(source, 1.0)))
        fluid.backward.append_backward(loss)
    executor = fluid.Executor(fluid.CPUPlace())
    times = []
    with fluid.scope_guard(fluid.Scope()):
        executor.run(startup)
        for _ in range(REPETITIONS + 2):
            begin = time.perf_counter()
            executor.run(main, fetch_list=[loss])
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[2:])


def main():
    words = sys.argv[1:]
    styles, activations = ("inplace", "standard"), ("leaky_relu", "elu")
    style = words[1] if len(words) > 1 else "inplace"
    activation = words[2] if len(words) > 2 else "leaky_relu"
    if not words or style not in styles or activation not in activations:
        sys.exit(__doc__)
    sizes = [int(size) for size in words[0].split("x")]
    with_layer = milliseconds(sizes, lambda x: layer_of(x, style, activation))
    without = milliseconds(sizes, lambda x: x)
    print(
        json.dumps(
            {
                "layerMilliseconds": with_layer - without,
                "programMilliseconds": with_layer,
                "emptyMilliseconds": without,
                "version": paddle.__version__,
                "style": style,
            }
        )
    )


if __name__ == "__main__":
    main()
