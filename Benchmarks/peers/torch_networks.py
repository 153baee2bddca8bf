"""Networks of this package in PyTorch, for the scripts beside this file.

`resnet50` builds what `abn` calls resnet50: He et al. 2016, table 1, the 3 x 3 convolution of a
bottleneck halving the image, shortcuts of option B, no biases before a normalization, padding
(size - 1) / 2, epsilon 1e-5, and statistics that keep nine tenths of their old value. The parameters
have torchvision's names (conv1.weight, layer1.0.bn1.running_mean, fc.weight, ...), so that its files
can be loaded too. `unet` is what `abn` calls unet, with names of its own.
"""

import torch
from torch import nn

# The slope of `abn`'s networks.
SLOPE = 0.01


def activation_of(name):
    """The activation after a normalization, in place, as one would write it for speed."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "leaky_relu":
        return nn.LeakyReLU(SLOPE, inplace=True)
    raise ValueError(f"activation {name}: relu or leaky_relu")


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, activation):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.act = activation_of(activation)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.act(self.bn1(self.conv1(x)))
        y = self.act(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.act(y.add_(x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, blocks, classes, activation, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act = activation_of(activation)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, count in enumerate(blocks):
            rooms = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                rooms.append(Bottleneck(inputs, width << stage, stride, activation))
                inputs = 4 * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*rooms))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def resnet50(classes=1000, activation="relu", width=64):
    """25,557,032 parameters for a thousand classes and the usual width of the first stage."""
    return ResNet((3, 4, 6, 3), classes, activation, width)


class UNet(nn.Module):
    """What `abn` calls unet: Ronneberger et al. 2015, figure 1, normalized, with images kept in size."""

    def __init__(self, channels, classes, activation, width):
        super().__init__()

        def two_convolutions(inputs, outputs):
            layers = []
            for count in (inputs, outputs):
                layers += [
                    nn.Conv2d(count, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    activation_of(activation),
                ]
            return nn.Sequential(*layers)

        widths = [width << depth for depth in range(5)]
        self.down = nn.ModuleList(
            two_convolutions(inputs, outputs) for inputs, outputs in zip([channels] + widths, widths)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * w, 4 * w, 1, bias=False), nn.PixelShuffle(2))
            for w in widths[:-1]
        )
        self.joined = nn.ModuleList(two_convolutions(2 * w, w) for w in widths[:-1])
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        shortcuts = []
        for depth, layers in enumerate(self.down):
            x = layers(self.pool(x) if depth > 0 else x)
            shortcuts.append(x)
        for depth in reversed(range(4)):
            x = self.joined[depth](torch.cat([shortcuts[depth], self.up[depth](x)], 1))
        return self.last(x)


def unet(channels=3, classes=11, activation="leaky_relu", width=64):
    """31,035,586 parameters for one channel, two classes and the paper's width."""
    return UNet(channels, classes, activation, width)


def parameters_by_name(model):
    """What a file of weights holds: parameters and moving statistics, without counters."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def philox(seed, stream, count):
    """The first `count` numbers of a stream of `CounterRandom`, uniform in [0, 1): Philox 4x32-10."""
    blocks = torch.arange((count + 3) // 4, dtype=torch.int64)
    mask = 0xFFFFFFFF
    c = [blocks & mask, blocks >> 32]
    c += [torch.full_like(blocks, stream & mask), torch.full_like(blocks, stream >> 32)]
    k = [seed & mask, seed >> 32]

    def product(a, x):
        """The two halves of a 64-bit product; by 16 bits, as there is no unsigned 64-bit product."""
        low, high = (x & 0xFFFF) * a, (x >> 16) * a
        middle = high + (low >> 16)
        return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)

    for _ in range(10):
        high0, low0 = product(0xD2511F53, c[0])
        high1, low1 = product(0xCD9E8D57, c[2])
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    bits = torch.stack(c, 1).flatten()[:count]
    return (bits >> 8).double() * 2.0**-24
