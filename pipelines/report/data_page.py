"""reports/data.html: what the clips look like and what the videos are, in one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from digan.atomic import write_bytes
from pipelines.media import pictures, storage
from pipelines.media.shard_index import ShardIndex, read_index
from pipelines.media.shard_store import read_shard
from pipelines.media.shard_writer import REPORT
from pipelines.media.tars import Sample

PAGE = Path("reports/data.html")
CLIPS_PER_CLASS = 4
FRAMES_SHOWN = 8  # of a clip, evenly spread
MOST_CLASSES = 32
MOST_SHARDS = 24  # that are read to find clips of every class
MOST_REFUSED = 200  # named on the page; the report names all
BARS = 16

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1100px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd } h3 { font-size: 1em; margin: 1em 0 .3em }
table { border-collapse: collapse } td, th { text-align: left; padding: .15em 1em .15em 0; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } td.b { width: 320px; padding: 0 }
td.b div { background: #4878b0; height: .9em } img { display: block; max-width: 100%; margin: .2em 0; image-rendering: auto }
.charts { display: flex; flex-wrap: wrap; gap: 0 3em } .note { color: #666 } code { background: #f4f4f4 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } h2 { border-color: #444 } code { background: #2a2a2a }
  .note { color: #999 } }
"""


def write(folder: Path, page: Path = PAGE) -> Path:
    """Write the page for the shards whose index and report lie in ``folder``."""
    index = read_index(folder)
    report = json.loads(storage.read_bytes(storage.join(str(folder), REPORT)))
    parts = [
        f"<h1>The data: {html.escape(str(index.origin['name']))}</h1>",
        _facts(index, report),
        "<h2>Clips</h2>",
        _sheets(index),
        "<h2>Videos</h2><div class=charts>",
        _chart("Frames a video", _ranges(report["frames"])),
        _chart("Frames a second", {key if float(key) else "none": n for key, n in report["rates"].items()}),
        _chart("Width x height", report["sizes"]),
        _chart("Codec", report["codecs"]),
        _chart("Videos a class", {key or "(none)": n for key, n in report["classes"].items()}),
        "</div>",
        _refused(report),
    ]
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>The data</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    return write_bytes(page, text.encode())


def _facts(index: ShardIndex, report: dict[str, Any]) -> str:
    levels = index.statistics
    rows = [
        ("videos", f"{report['used']} used of {report['videos']}, {len(report['refused'])} refused"),
        ("clips", f"{index.frames} frames of {index.resolution}x{index.resolution}, stride {index.frame_stride}"),
        ("stored", f"{index.encoding}, at {index.address}"),
        *(
            (split, f"{c['clips']} clips in {c['segments']} segments, {c['shards']} shards, {c['bytes'] / 1e6:.1f} MB")
            for split, c in index.counts.items()
        ),
        ("mean level", f"{_rgb(levels.get('mean'))} of 255, over {levels.get('frames_sampled', 0)} sampled frames"),
        ("deviation", _rgb(levels.get("std"))),
        ("digest", f"<code>{index.digest[:16]}</code>"),
        ("software", ", ".join(f"{name} {version}" for name, version in index.software.items())),
    ]
    cells = "".join(f"<tr><th>{html.escape(name)}<td>{value}" for name, value in rows)
    return f"<table>{cells}</table>"


def _rgb(values: list[float] | None) -> str:
    return ", ".join(f"{c} {v:.1f}" for c, v in zip(("red", "green", "blue"), values or (), strict=False)) or "unknown"


def _sheets(index: ShardIndex) -> str:
    """A strip for each of some clips of each class, early frames on the left; classes also where none are learned."""
    found: dict[str, list[Image.Image]] = {}
    shards = [shard for listed in index.splits.values() for shard in listed]
    for shard in shards[:: max(1, len(shards) // MOST_SHARDS)][:MOST_SHARDS]:
        seen: set[str] = set()  # one clip of a video
        for sample in read_shard(storage.join(index.address, shard.path), shard):
            meta = sample.meta
            strips = found.setdefault(str(meta["category"] or ""), [])
            if len(strips) < CLIPS_PER_CLASS and meta["name"] not in seen:
                seen.add(meta["name"])
                strips.append(_strip(sample, index))
    names = sorted(found)[:MOST_CLASSES]
    parts = [(f"<h3>{html.escape(name)}</h3>" if name else "") + "".join(map(_picture, found[name])) for name in names]
    if len(found) > len(names):
        parts.append(f"<p class=note>{len(found) - len(names)} more classes are not shown.")
    note = f"<p class=note>Each row is a clip, {min(FRAMES_SHOWN, index.frames)} of its {index.frames} frames."
    return note + "".join(parts)


def _strip(sample: Sample, index: ShardIndex) -> Image.Image:
    numbers = np.linspace(0, index.frames - 1, min(FRAMES_SHOWN, index.frames)).round().astype(int)
    gap = max(1, index.resolution // 32)
    row = [
        np.pad(pictures.decode(sample.picture(int(n))), ((0, 0), (0, gap), (0, 0)), constant_values=255)
        for n in numbers
    ]
    return Image.fromarray(np.concatenate(row, axis=1)[:, :-gap])


def _picture(image: Image.Image) -> str:
    scale = max(1, 1024 // image.width)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    enlarged.save(stream, "WEBP", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"<img alt='frames of a clip' src='data:image/webp;base64,{data}'>"


def _ranges(counts: dict[str, int]) -> dict[str, int]:
    """Counts of whole numbers, put together into at most ``BARS`` ranges."""
    numbers = {int(key): n for key, n in counts.items()}
    if len(numbers) <= BARS:
        return {str(key): n for key, n in sorted(numbers.items())}
    low, high = min(numbers), max(numbers)
    width = -(-(high - low + 1) // BARS)
    found: Counter[int] = Counter()
    for number, n in numbers.items():
        found[(number - low) // width] += n
    return {f"{low + k * width} to {low + (k + 1) * width - 1}": found[k] for k in sorted(found)}


def _chart(title: str, counts: dict[str, int]) -> str:
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:BARS]) if len(counts) > BARS else counts
    most = max(shown.values(), default=1)
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{n}<td class=b><div style='width:{100 * n / most:.1f}%'></div>"
        for name, n in shown.items()
    )
    rest = f"<p class=note>and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    return f"<div><h3>{html.escape(title)}</h3><table>{rows}</table>{rest}</div>"


def _refused(report: dict[str, Any]) -> str:
    def table(entries: dict[str, str]) -> str:
        shown = list(entries.items())[:MOST_REFUSED]
        rows = "".join(f"<tr><td>{html.escape(name)}<td>{html.escape(why)}" for name, why in shown)
        rest = f"<p class=note>and {len(entries) - len(shown)} more, in {REPORT}" if len(entries) > len(shown) else ""
        return f"<table>{rows}</table>{rest}"

    parts = [f"<h2>Refused: {len(report['refused'])}</h2>", table(report["refused"])]
    if report["decoded_with_pyav"]:
        parts += ["<h2>Decoded with PyAV, where decord fails</h2>", table(report["decoded_with_pyav"])]
    if report["unsteady"]:
        parts += ["<h2>Of varying frame rate</h2>", table(dict.fromkeys(report["unsteady"], ""))]
    return "".join(parts)
