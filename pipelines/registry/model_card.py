"""The model card of a version: its data, training, results with their uncertainty, and limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

CARD = """\
# {name}

A DIGAN video generator (Yu et al., ICLR 2022): seeds in, videos out; a video is a function of x, y and t.

**Verdict of the gate:** {verdict}

## Data
- source `{source[name]}`, clips of {frames} frames at {resolution} pixels, frame stride {frame_stride}
- data digest `{data_digest}`

## Training
- {clips_seen} clips seen of {training[clips]}, batch {training[batch_size]}, seed {training[seed]}, R1 \
{training[r1_gamma]}, precision {training[precision]}
- channels up to {model[channel_max]}; weights digest `{weights}`

## Figures
Protocol {protocol_text}; seed {seed}, truncation {truncation}; detector `{detector}` with digest \
`{detector_digest:.16}`.

{figures}
{stand_in}
## Limits
- It makes videos like those it was trained on, and repeats their gaps and their bias; it knows no captions.
- Its figures hold for the protocol, data and detector named here and for nothing else.
- Frames far outside t in [0, 1] are extrapolated and get worse with the distance.

## Licence
The code is Apache-2.0. Who may use these weights depends on the videos that they were trained on too.
"""


def model_card(
    name: str,
    metrics: Mapping[str, Any],
    figures: str,
    index: Mapping[str, Any],
    params: Mapping[str, Any],
    weights: str,
) -> str:
    """Return the card in Markdown; ``{verdict}`` in it is left for the gate's reason, and what is missing becomes ``?``.

    ``metrics`` is metrics/evaluation.json, ``figures`` its table in Markdown, ``index`` the training's index.json, ``params`` params.yaml.
    """
    metric, clips = metrics["metric"], params.get("clips", {})
    values = {
        "clips_seen": index.get("clips_seen", "?"),
        "frame_stride": clips.get("frame_stride", 1),
        **metrics,
        **{key: clips[key] for key in ("frames", "resolution") if key in clips},
        **{key: defaultdict(lambda: "?", params.get(key, {})) for key in ("source", "training", "model")},
        "name": name,
        "weights": weights,
        "verdict": "{verdict}",
        "figures": figures,
        "stand_in": "" if metric == "fvd" else f"\n`{metric}` is a distance on a stand-in detector and **no FVD**.\n",
    }
    return CARD.format_map(defaultdict(lambda: "?", values))
