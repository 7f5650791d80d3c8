"""Stage `reference`: features of real clips, made once for each data set, protocol and detector, or read from the cache."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from digan.atomic import check_writable
from pipelines import params
from pipelines.arguments import stage_parser
from pipelines.evaluation import embedding, reference_features
from pipelines.exit_status import run_stage
from pipelines.sources.made_with import check_shards_if_present

READS = "params.yaml (evaluation, cluster), outputs/shards"
WRITES = "outputs/reference, features at evaluation.cache"
SHARDS = Path("outputs/shards")
REFERENCE = Path("outputs/reference")


def main(argv: Sequence[str] = ()) -> None:
    """Embed the real clips whose features are missing, and print counts and notes."""
    stage_parser("reference", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    settings = params.load()
    check_writable(REFERENCE)
    check_shards_if_present(SHARDS, settings.as_dict())
    config = settings.evaluation
    with embedding.open_executor(config, settings.cluster) as executor:
        for detector in reference_features.all_detectors(config):
            if detector.measure != "frechet":
                continue
            found = reference_features.read(REFERENCE, SHARDS, config, detector)
            what = "there already (same data, protocol, detector, counts and seed)"
            if found is None:
                found = reference_features.build(REFERENCE, SHARDS, config, detector, executor)
                what = "written"
            counts = f"{len(found.reference)} + {len(found.real_vs_real)} clips"
            print(f"reference: {counts}, {detector.metric_name}, {REFERENCE}: {what}", flush=True)
            for note in found.index["notes"]:
                print(f"reference: note: {note}", flush=True)


if __name__ == "__main__":
    run_stage(main, sys.argv[1:])
