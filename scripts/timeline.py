#!/usr/bin/env python3
"""Draws the arenas of two plans beside each other, on one scale, as an SVG for a document.

abn plan --model resnet20 --batch-size 128 --timeline inplace.html
abn plan --model resnet20 --batch-size 128 --norm standard --timeline standard.html
scripts/timeline.py "in place" inplace.html standard standard.html > Documentation/MemoryTimeline.svg
"""
import json
import re
import sys

WIDTH, HEIGHT, TOP, BOTTOM, LEFT, RIGHT, GAP = 900, 440, 84, 44, 68, 14, 76
LEAST = 0.3  # pixels; lower blocks are not drawn
USES = [("activation", "activations"), ("gradient", "gradients"), ("feed", "input"), ("scratch", "scratch")]
STYLE = """
    .ground { fill: #ffffff } text { fill: #24292f } .quiet { fill: #57606a }
    .axis { stroke: #8c959f; fill: none } .grid { stroke: #d0d7de } .peak { stroke: #24292f; stroke-dasharray: 5 3 }
    .activation { fill: #4a90d9 } .gradient { fill: #e8833a } .feed { fill: #8f6fc0 } .scratch { fill: #8c959f }
    .block { stroke: #ffffff; stroke-width: 0.4 }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
      .axis { stroke: #6e7681 } .grid { stroke: #30363d } .peak { stroke: #e6edf3 }
      .activation { fill: #4f97e0 } .gradient { fill: #d9772f } .feed { fill: #a37fd6 } .scratch { fill: #7d8590 }
      .block { stroke: #0d1117 }
    }"""


def read(path):
    """Blocks, size of the arena, number of steps and the first step of the backward pass."""
    text = open(path, encoding="utf-8").read()
    start = re.search(r"\bsteps = (?=\[)", text).end()
    steps, end = json.JSONDecoder().raw_decode(text, start)
    start = re.search(r"\brows = (?=\[)", text[end:]).end() + end
    rows, end = json.JSONDecoder().raw_decode(text, start)
    arena = int(re.search(r"\barena = (\d+)", text[end:]).group(1))
    backward = next(i for i, step in enumerate(steps) if "_grad" in step.split(" ")[0])
    return rows, arena, len(steps), backward


def main():
    names, plans = sys.argv[1::2], [read(path) for path in sys.argv[2::2]]
    mebibyte = 1 << 20
    unit = 50
    top = (max(arena for _, arena, _, _ in plans) // (unit * mebibyte) + 1) * unit
    width = (WIDTH - LEFT - RIGHT - GAP) / 2
    height = HEIGHT - TOP - BOTTOM

    def up(bytes):
        return TOP + height * (1 - bytes / mebibyte / top)

    sums = " and ".join(f"{name} {arena / mebibyte:.1f} MiB" for name, (_, arena, _, _) in zip(names, plans))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13" role="img" '
        f'aria-label="The arena of one training step over its steps: {sums}.">',
        f"  <style>{STYLE}\n  </style>",
        f'  <rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
    ]
    x = LEFT
    seen = {use for rows, _, _, _ in plans for _, _, _, bytes, use, _ in rows
            if bytes / mebibyte / top * height >= LEAST}
    for use, word in USES:
        if use not in seen:
            continue
        out.append(f'  <rect class="{use}" x="{x}" y="14" width="13" height="13"/>')
        out.append(f'  <text x="{x + 19}" y="25">{word}</text>')
        x += 50 + 7.5 * len(word)
    out.append(
        f'  <text class="quiet" x="{WIDTH - RIGHT}" y="25" text-anchor="end">'
        "one rectangle: one block of bytes while it lives</text>")
    for place, (name, (rows, arena, steps, backward)) in enumerate(zip(names, plans)):
        left = LEFT + place * (width + GAP)

        def right(step):
            return left + width * (step + 1) / (steps + 2)

        out.append(f'  <text x="{left}" y="62" font-weight="bold">{name}: {arena / mebibyte:.1f} MiB</text>')
        for tick in range(0, top + 1, unit):
            y = up(tick * mebibyte)
            out.append(f'  <path class="grid" d="M{left:.1f} {y:.1f}h{width:.1f}"/>')
            label = f"{tick} MiB" if tick == top else f"{tick}"
            out.append(
                f'  <text class="quiet" x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for first, last, offset, bytes, use, _ in rows:
            tall = bytes / mebibyte / top * height
            if tall < LEAST:
                continue
            out.append(
                f'  <rect class="block {use}" x="{right(first):.1f}" y="{up(offset + bytes):.1f}" '
                f'width="{right(last + 1) - right(first):.1f}" height="{tall:.1f}"/>')
        y = up(arena)
        out.append(f'  <path class="peak" d="M{left:.1f} {y:.1f}h{width:.1f}"/>')
        out.append(f'  <path class="axis" d="M{left:.1f} {TOP}v{height}h{width:.1f}"/>')
        middle = right(backward)
        out.append(f'  <path class="axis" d="M{middle:.1f} {TOP + height}v8"/>')
        for start, end, word in [(left, middle, "forward"), (middle, left + width, "backward and updates")]:
            out.append(
                f'  <text class="quiet" x="{(start + end) / 2:.1f}" y="{TOP + height + 22}" '
                f'text-anchor="middle">{word}</text>')
    out.append("</svg>")
    print("\n".join(out))


main()
