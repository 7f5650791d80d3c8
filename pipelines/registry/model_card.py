"""The model card of a version: data, training, results with their uncertainty, limits. ``model_card.md`` is its text."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from digan.redaction import redacted


def model_card(
    name: str, metrics: Mapping[str, Any], table: str, index: Mapping[str, Any], params: Mapping[str, Any], weights: str
) -> str:
    """Return the card in Markdown; ``{verdict}`` is left for the reason of the alias, and missing values become ``?``.

    Values are escaped, since Markdown passes HTML on.
    ``metrics`` is metrics/evaluation.json, ``table`` its values in Markdown, ``index`` the training's index.json,
    ``params`` params.yaml and ``weights`` the digest of the weights.
    """
    metric, clips = metrics["metric"], params.get("clips", {})
    given = {"name": name, "weights": weights, "verdict": "{verdict}", "table": table}
    values = {
        "clips_seen": index.get("clips_seen", "?"),
        "frame_stride": clips.get("frame_stride", 1),
        **metrics,
        **{key: clips[key] for key in ("frames", "resolution") if key in clips},
        **{key: params.get(key, {}) for key in ("source", "training", "model")},
        **given,
        "stand_in": "" if metric == "fvd" else f"\n`{metric}` is a distance on a stand-in detector and **not FVD**.\n",
    }
    template = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    return redacted(template.format_map(_escaped(values)))


def escaped(text: str) -> str:
    """``text`` without HTML, for Markdown that MLflow shows."""
    return html.escape(text, quote=False)


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return defaultdict(lambda: "?", {key: _escaped(inner) for key, inner in value.items()})
    return escaped(value) if isinstance(value, str) else value
