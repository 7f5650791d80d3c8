"""The results of a sweep as data: a row per trial, the importance of each parameter, the best trial."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from digan.atomic import write_bytes
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, FINISHED, STOPPED, SweepState, TrialRecord, best_of
from pipelines.video.video_writer import write_csv

TABLE, SUMMARY = Path("metrics/sweep.csv"), Path("metrics/sweep.json")


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How the objective depends on one parameter, over ``trials`` trials at the same number of clips.

    ``strength`` is Spearman's rank correlation for a number (its sign says which way; negative: more is better), and for a choice
    the correlation ratio of the ranks, from 0 to 1. ``chance`` is the share of orders of the values, all or 999 random ones,
    in which the parameter's strength is at least as large.
    """

    name: str
    strength: float
    chance: float
    trials: int
    at_clips: int


def rows(trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter]) -> list[dict[str, Any]]:
    """One row per trial in the order of numbers; ``value`` is the last measurement."""
    found = []
    for trial in trials:
        measuring = sum(m.seconds for m in trial.measures)
        found.append(
            {
                "trial": trial.number,
                "value": trial.last.value if trial.last else "",
                "state": trial.state,
                "clips": trial.clips,
                **{p.name: trial.values[p.name] for p in parameters},
                "seconds": round(trial.seconds, 1),
                "measuring": round(measuring, 1),
                "wall": round(trial.wall, 1),
                "starts": trial.starts,
                "reason": trial.reason,
                "run_id": trial.run_id,
            }
        )
    return found


def importances(
    trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter], *, seed: int = 0
) -> list[Importance]:
    """The importance of each parameter, the strongest first; empty with fewer than four measured trials.

    Stopped trials count as the others do: all are compared at their first measurement.
    """
    first = [t.measures[0] for t in trials if t.measures]
    if len(first) < 4:
        return []
    values = np.array([m.value for m in first])
    clips = int(np.median([m.clips_seen for m in first]))
    found = []
    for p in parameters:
        given = [m.values[p.name] for m in first]
        if len(set(map(str, given))) < 2:
            continue
        strength = _strength(given, values)
        test = stats.permutation_test(
            (values,),
            lambda shuffled, given=given: abs(_strength(given, shuffled)),
            permutation_type="pairings",
            alternative="greater",
            vectorized=False,
            n_resamples=999,
            random_state=np.random.default_rng(seed),
        )
        chance = float(test.pvalue)
        found.append(Importance(name=p.name, strength=strength, chance=chance, trials=len(first), at_clips=clips))
    return sorted(found, key=lambda i: -abs(i.strength))


def _strength(given: Sequence[Any], values: np.ndarray) -> float:
    if np.ptp(values) == 0:
        return 0.0
    if all(isinstance(g, int | float) and not isinstance(g, bool) for g in given):
        return float(stats.spearmanr(given, values).statistic)
    groups = [values[[str(g) == name for g in given]] for name in sorted(set(map(str, given)))]
    # Kruskal and Wallis' statistic is the squared correlation ratio of the ranks, times one less than their number.
    return math.sqrt(stats.kruskal(*groups).statistic / (len(values) - 1))


def write(records: SweepState, parameters: Sequence[SearchParameter], metric: str, total: int) -> None:
    """Write metrics/sweep.csv and metrics/sweep.json in the current folder."""
    trials = records.begun()
    if not trials:
        return
    write_csv(TABLE, rows(trials, parameters))
    best = best_of(trials)
    states = {state: sum(t.state == state for t in trials) for state in (FINISHED, STOPPED, FAILED)}
    content = {
        "metric": metric,
        "trials": total,
        **states,
        "clips": records.clips,
        "sweep": records.sweep_id,
        "best": {"trial": best.number, "value": best.last.value, **best.values} if best and best.last else None,
    }
    write_bytes(SUMMARY, (json.dumps(content, indent=2) + "\n").encode())
