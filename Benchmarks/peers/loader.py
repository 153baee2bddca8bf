#!/usr/bin/env python3
"""Pictures a second that reach a batch: `abn bench data` beside PyTorch's DataLoader with Pillow.

Both read the same photographs and do the same with them: a random part at 224 x 224, mirrored every other time,
normalized, in batches of 32 in an order of every epoch's own. Nothing is computed with the batches. The two are run
by turns, and the medians count.

    swift build -c release --product abn
    python3 Benchmarks/peers/loader.py FOLDER

FOLDER holds `train/CLASS/*.jpg`. Needs torch, torchvision and pillow.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def peer(folder, workers, epochs, batch_size):
    """Pictures a second of PyTorch's loader, and processor milliseconds a picture."""
    import torch
    from torchvision import datasets, transforms

    pictures = datasets.ImageFolder(
        os.path.join(folder, "train"),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(224),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        ),
    )
    loader = torch.utils.data.DataLoader(
        pictures, batch_size=batch_size, shuffle=True, num_workers=workers, persistent_workers=True
    )
    # The first pass starts the workers and reads the files into the system's memory.
    for _ in loader:
        pass

    def processor():
        # The workers are children that have not ended: their times are in /proc.
        ticks = os.sysconf("SC_CLK_TCK")
        total = time.process_time()
        for worker in loader._iterator._workers:
            with open(f"/proc/{worker.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / ticks
        return total

    count, used, start = 0, processor(), time.perf_counter()
    for _ in range(epochs):
        for images, _ in loader:
            count += len(images)
    seconds = time.perf_counter() - start
    return count / seconds, (processor() - used) * 1000 / count


def ours(program, folder, workers, epochs, batch_size):
    words = [program, "bench", "data", f"folder:{folder}", "--workers", workers, "--epochs", epochs]
    words += ["--batch-size", batch_size, "--json"]
    result = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True)
    values = json.loads(result.stdout)
    return values["picturesPerSecond"], values["processorMillisecondsPerPicture"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--abn", default=os.path.join(HERE, "../../.build/release/abn"))
    options = parser.parse_args()

    results = {"abn": [], "torch": []}
    for _ in range(options.rounds):
        shape = (options.folder, options.workers, options.epochs, options.batch_size)
        results["abn"].append(ours(options.abn, *shape))
        results["torch"].append(peer(*shape))
    summary = {}
    for name, runs in results.items():
        summary[name] = {
            "pictures_per_second": round(statistics.median(r[0] for r in runs), 1),
            "processor_ms_per_picture": round(statistics.median(r[1] for r in runs), 3),
        }
    summary["ratio"] = round(
        summary["abn"]["pictures_per_second"] / summary["torch"]["pictures_per_second"], 2
    )
    summary["workers"] = options.workers
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
