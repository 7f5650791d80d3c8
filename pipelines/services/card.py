"""The model card of a version: what it is, what it was made of, how good it is and how sure that is, what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMITS = """- It makes videos like those it was trained on, and repeats their gaps and their bias; it knows no captions.
- Its figures hold for the protocol, data and detector named here and for nothing else.
- Frames far outside t in [0, 1] are extrapolated and get worse with the distance."""


def model_card(
    name: str, metrics: Mapping[str, Any], index: Mapping[str, Any], params: Mapping[str, Any], weights: str
) -> str:
    """Markdown; ``{verdict}`` in it is for the gate's reason. ``metrics`` is metrics/evaluation.json, ``index`` the
    training's index.json, ``params`` params.yaml.
    """
    metric = str(metrics["metric"])
    training, model, clips = (params.get(section, {}) for section in ("training", "model", "clips"))
    source = params.get("source", {})
    rows = [_row(key, metrics[key]) for key in metrics if isinstance(metrics[key], Mapping) and "mean" in metrics[key]]
    stand_in = "" if metric == "fvd" else f"\n`{metric}` is a distance on a stand-in detector and **no FVD**.\n"
    return "\n".join(
        [
            f"# {name}",
            "",
            "A DIGAN video generator (Yu et al., ICLR 2022): seeds in, videos out; a video is a function of x, y and t.",
            "",
            "**Verdict of the gate:** {verdict}",
            "",
            "## Data",
            f"- source `{source.get('name', '?')}`, clips of {clips.get('frames', metrics.get('frames'))} frames at"
            f" {clips.get('resolution', metrics.get('resolution'))} pixels, frame stride {clips.get('frame_stride', 1)}",
            f"- data digest `{metrics['data_digest']}`",
            "",
            "## Training",
            f"- {metrics.get('clips_seen', index.get('clips_seen', '?'))} clips seen of {training.get('clips', '?')}, batch"
            f" {training.get('batch_size', '?')}, seed {training.get('seed', '?')}, R1 {training.get('r1_gamma', '?')},"
            f" precision {training.get('precision', '?')}",
            f"- channels up to {model.get('channel_max', '?')}; weights digest `{weights}`",
            "",
            "## Figures",
            f"Protocol {metrics.get('protocol_text', '?')}; seed {metrics.get('seed')}, truncation"
            f" {metrics.get('truncation')}; detector `{metrics.get('detector')}` with digest"
            f" `{str(metrics.get('detector_digest'))[:16]}`.",
            "",
            "| measure | mean | std over draws | 95 % interval | real against real | infinitely many videos |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            stand_in,
            "## Limits",
            LIMITS,
            "",
            "## Licence",
            "The code is Apache-2.0. Who may use these weights depends on the videos that they were trained on too.",
            "",
        ]
    )


def _row(name: str, values: Mapping[str, Any]) -> str:
    def shown(key: str) -> str:
        value = values.get(key)
        return f"{value:.4g}" if isinstance(value, int | float) else "-"

    interval = f"{shown('low')} to {shown('high')}" if "low" in values else "-"
    return f"| `{name}` | {shown('mean')} | {shown('std')} | {interval} | {shown('floor')} | {shown('infinite')} |"
