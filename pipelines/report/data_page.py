"""reports/data.html: a self-contained page with example clips and statistics of the videos."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from digan.atomic import write_text
from pipelines.dataset.shard_index import ShardIndex, read_index
from pipelines.dataset.shard_reader import ShardSample, read_shard
from pipelines.dataset.shard_writer import REPORT
from pipelines.report.html_page import data_address, render
from pipelines.storage import file_io
from pipelines.video import image_codec
from pipelines.video.video_writer import grid

PAGE = Path("reports/data.html")
CLIPS_PER_CLASS = 4
FRAMES_SHOWN = 8  # evenly spaced frames per clip
MAX_SHARDS = 24  # shards searched for example clips
MAX_BARS = 16


def write(folder: Path, path: Path = PAGE) -> Path:
    """Write the page for the shards whose index and ingest report are in ``folder``."""
    index = read_index(folder)
    report = json.loads(file_io.read_bytes(file_io.join(str(folder), REPORT)))
    bars = {
        "Frames per video": _ranges(report["frames"]),
        "Frames per second": {key if float(key) else "none": count for key, count in report["rates"].items()},
        "Width x height": report["sizes"],
        "Codec": report["codecs"],
        "Decoder": report["decoders"],
        "Videos per class": {key or "(none)": count for key, count in report["classes"].items()},
    }
    values = {"index": index, "report": report, "report_file": REPORT, "bars": bars, "clips": _example_clips(index)}
    page = render("data.html.jinja", **values, max_bars=MAX_BARS, frames_shown=FRAMES_SHOWN)
    return write_text(path, page)


def _example_clips(index: ShardIndex) -> dict[str, list[str]]:
    """Draw some clips of each class as data URLs; classes are shown for unconditional models too."""
    found: dict[str, list[str]] = {}
    shards = [shard for split in index.splits.values() for shard in split]
    for shard in shards[:: max(1, len(shards) // MAX_SHARDS)][:MAX_SHARDS]:
        seen: set[str] = set()  # one clip per video
        for sample in read_shard(file_io.join(index.address, shard.path), shard):
            rows = found.setdefault(str(sample.meta["category"] or ""), [])
            if len(rows) < CLIPS_PER_CLASS and sample.meta["name"] not in seen:
                seen.add(sample.meta["name"])
                rows.append(_clip_image(sample, index))
    return found


def _clip_image(sample: ShardSample, index: ShardIndex) -> str:
    """Draw frames of a clip side by side, enlarged to about 1024 pixels; return a data URL."""
    numbers = np.linspace(0, index.frames - 1, min(FRAMES_SHOWN, index.frames)).round().astype(int)
    frames = np.stack([image_codec.decode(sample.picture(int(number))) for number in numbers])
    row = Image.fromarray(grid(frames[None], gap=max(1, index.resolution // 32)))
    scale = max(1, 1024 // row.width)
    enlarged = row.resize((row.width * scale, row.height * scale), Image.Resampling.NEAREST)
    return data_address("image/webp", image_codec.file_of(enlarged, "webp", quality=85))


def _ranges(counts: dict[str, int]) -> dict[str, int]:
    """Group counts of whole numbers into at most ``MAX_BARS`` ranges."""
    numbers = {int(key): n for key, n in counts.items()}
    if len(numbers) <= MAX_BARS:
        return {str(key): n for key, n in sorted(numbers.items())}
    low, high = min(numbers), max(numbers)
    width = -(-(high - low + 1) // MAX_BARS)
    found: Counter[int] = Counter()
    for number, n in numbers.items():
        found[(number - low) // width] += n
    return {f"{low + k * width} to {low + (k + 1) * width - 1}": found[k] for k in sorted(found)}
