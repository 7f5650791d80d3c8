"""The model card of a version: data, training, results with their uncertainty, limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

CARD = """\
# {name}

A DIGAN video generator (Yu et al., ICLR 2022): it maps seeds to videos, which are functions of x, y and t.

**Reason for its alias:** {verdict}

## Data
- source `{source[name]}`, clips of {frames} frames at {resolution} pixels, frame stride {frame_stride}
- data digest `{data_digest}`

## Training
- {clips_seen} clips seen of {training[clips]}, batch {training[batch_size]}, seed {training[seed]}, R1 \
{training[r1_gamma]}, precision {training[precision]}
- channels up to {model[channel_max]}; weights digest `{weights}`

## Results
Protocol {protocol_text}; seed {seed}, truncation {truncation}; detector `{detector}` with digest \
`{detector_digest:.16}`.

{table}
{stand_in}
## Limits
- The model generates videos like its training videos, including their gaps and biases; it does not take text prompts.
- The results are valid only for the protocol, data and detector named here.
- Frames far outside t in [0, 1] are extrapolated; quality drops with the distance.

## License
The code is licensed under Apache-2.0. The use of the weights may also depend on the licenses of the training videos.
"""


def model_card(
    name: str, metrics: Mapping[str, Any], table: str, index: Mapping[str, Any], params: Mapping[str, Any], weights: str
) -> str:
    """Return the card in Markdown; ``{verdict}`` is left for the reason of the alias, and missing values become ``?``.

    ``metrics`` is metrics/evaluation.json, ``table`` its values in Markdown, ``index`` the training's index.json,
    ``params`` params.yaml and ``weights`` the digest of the weights.
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
        "table": table,
        "stand_in": "" if metric == "fvd" else f"\n`{metric}` is a distance on a stand-in detector and **not FVD**.\n",
    }
    return CARD.format_map(defaultdict(lambda: "?", values))
