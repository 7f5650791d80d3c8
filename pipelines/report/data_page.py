"""reports/data.html: what the clips look like and what the videos are, in one file that needs nothing else."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from digan.atomic import write_text
from pipelines.dataset.shard_index import ShardIndex, read_index
from pipelines.dataset.shard_reader import ShardSample
from pipelines.dataset.shard_store import read_shard
from pipelines.dataset.shard_writer import REPORT
from pipelines.report.html_page import Bars, Pictures, Section, Table, data_address, page
from pipelines.storage import file_io
from pipelines.video import image_codec

PAGE = Path("reports/data.html")
CLIPS_PER_CLASS = 4
FRAMES_SHOWN = 8  # of a clip, evenly spread
MOST_CLASSES = 32
MOST_SHARDS = 24  # that are read to find clips of every class
MOST_REFUSED = 200  # named on the page; the report names all
BARS = 16


def write(folder: Path, path: Path = PAGE) -> Path:
    """Write the page for the shards whose index and report are in ``folder``."""
    index = read_index(folder)
    report = json.loads(file_io.read_bytes(file_io.join(str(folder), REPORT)))
    rates = {key if float(key) else "none": count for key, count in report["rates"].items()}
    sections = [
        Section(title="Overview", tables=[_facts(index, report)]),
        _clips(index),
        Section(
            title="Videos",
            bars=[
                _bars("Frames per video", _ranges(report["frames"])),
                _bars("Frames per second", rates),
                _bars("Width x height", report["sizes"]),
                _bars("Codec", report["codecs"]),
                _bars("Videos per class", {key or "(none)": count for key, count in report["classes"].items()}),
            ],
        ),
        _listed(f"Refused: {len(report['rejected'])}", report["rejected"]),
        _listed("Decoded with PyAV, where decord fails", report["decoded_with_pyav"]),
        _listed("Of varying frame rate", dict.fromkeys(report["unsteady"], "")),
    ]
    filled = [section for number, section in enumerate(sections) if number < 4 or section.tables[0].rows]
    return write_text(path, page(f"The data: {index.source['name']}", [], filled))


def _facts(index: ShardIndex, report: dict[str, Any]) -> Table:
    levels = index.statistics
    return Table(
        rows=[
            ("videos", f"{report['used']} used of {report['videos']}, {len(report['rejected'])} refused"),
            ("clips", f"{index.frames} frames of {index.resolution}x{index.resolution}, stride {index.frame_stride}"),
            ("stored", f"{index.encoding}, at {index.address}"),
            *(
                (
                    name,
                    f"{c['clips']} clips in {c['segments']} segments, {c['shards']} shards, {c['bytes'] / 1e6:.1f} MB",
                )
                for name, c in index.counts.items()
            ),
            ("mean level", f"{_rgb(levels.get('mean'))} of 255, over {levels.get('frames_sampled', 0)} sampled frames"),
            ("deviation", _rgb(levels.get("std"))),
            ("digest", index.digest[:16]),
            ("software", ", ".join(f"{name} {version}" for name, version in index.software.items())),
        ]
    )


def _rgb(values: list[float] | None) -> str:
    return ", ".join(f"{c} {v:.1f}" for c, v in zip(("red", "green", "blue"), values or (), strict=False)) or "unknown"


def _clips(index: ShardIndex) -> Section:
    """Some clips of each class, a row each, early frames on the left; classes are shown where none are learned too."""
    found: dict[str, list[str]] = {}
    shards = [shard for listed in index.splits.values() for shard in listed]
    for shard in shards[:: max(1, len(shards) // MOST_SHARDS)][:MOST_SHARDS]:
        seen: set[str] = set()  # one clip of a video
        for sample in read_shard(file_io.join(index.address, shard.path), shard):
            meta = sample.meta
            rows = found.setdefault(str(meta["category"] or ""), [])
            if len(rows) < CLIPS_PER_CLASS and meta["name"] not in seen:
                seen.add(meta["name"])
                rows.append(_address(_strip(sample, index)))
    names = sorted(found)[:MOST_CLASSES]
    note = f"Each row is a clip, {min(FRAMES_SHOWN, index.frames)} of its {index.frames} frames."
    more = f" {len(found) - len(names)} more classes are not shown." if len(found) > len(names) else ""
    return Section(
        title="Clips",
        paragraphs=[note + more],
        pictures=[Pictures(title=name, addresses=found[name]) for name in names],
    )


def _strip(sample: ShardSample, index: ShardIndex) -> Image.Image:
    numbers = np.linspace(0, index.frames - 1, min(FRAMES_SHOWN, index.frames)).round().astype(int)
    gap = max(1, index.resolution // 32)
    row = [
        np.pad(image_codec.decode(sample.picture(int(n))), ((0, 0), (0, gap), (0, 0)), constant_values=255)
        for n in numbers
    ]
    return Image.fromarray(np.concatenate(row, axis=1)[:, :-gap])


def _address(image: Image.Image) -> str:
    """The picture, enlarged to about 1024 pixels, as a data address."""
    scale = max(1, 1024 // image.width)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    enlarged.save(stream, "WEBP", quality=85)
    return data_address("image/webp", stream.getvalue())


def _ranges(counts: dict[str, int]) -> dict[str, int]:
    """Counts of whole numbers, grouped into at most ``BARS`` ranges."""
    numbers = {int(key): n for key, n in counts.items()}
    if len(numbers) <= BARS:
        return {str(key): n for key, n in sorted(numbers.items())}
    low, high = min(numbers), max(numbers)
    width = -(-(high - low + 1) // BARS)
    found: Counter[int] = Counter()
    for number, n in numbers.items():
        found[(number - low) // width] += n
    return {f"{low + k * width} to {low + (k + 1) * width - 1}": found[k] for k in sorted(found)}


def _bars(title: str, counts: dict[str, int]) -> Bars:
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:BARS]) if len(counts) > BARS else counts
    return Bars(title=title, counts=shown, more=_more(len(counts) - len(shown)))


def _listed(title: str, reasons: dict[str, str]) -> Section:
    rows = list(reasons.items())[:MOST_REFUSED]
    return Section(title=title, tables=[Table(rows=rows, more=_more(len(reasons) - len(rows), f", in {REPORT}"))])


def _more(left: int, where: str = "") -> str:
    return f"and {left} more{where}" if left else ""
