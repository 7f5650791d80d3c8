"""The results of a sweep as data: a row per trial, the importance of each parameter, the best trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from digan.atomic import write_csv, write_json
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import ENDS, SweepState, TrialRecord, best_of

TABLE, SUMMARY = Path("metrics/sweep.csv"), Path("metrics/sweep.json")


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How the objective depends on one parameter, over ``trials`` trials at the same number of clips.

    ``strength`` is Spearman's rank correlation for a number (negative: higher values are better), for a choice the correlation
    ratio of the ranks, in [0, 1]. ``chance`` is the share of permutations (at most 999) with at least this strength."""

    name: str
    strength: float
    chance: float
    trials: int
    at_clips: int


def rows(trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter]) -> list[dict[str, Any]]:
    """Return one row per trial in the order of numbers; ``value`` is the last measurement."""
    return [
        {
            "trial": trial.number,
            "value": trial.value if trial.measures else "",
            "state": trial.state,
            "clips": trial.clips,
            **{p.name: trial.values[p.name] for p in parameters},
            "seconds": round(trial.seconds, 1),
            "measuring": round(sum(m.seconds for m in trial.measures), 1),
            "wall": round(trial.wall, 1),
            "starts": trial.starts,
            "reason": trial.reason,
            "run_id": trial.run_id,
        }
        for trial in trials
    ]


def importances(trials: Sequence[TrialRecord], parameters: Sequence[SearchParameter]) -> list[Importance]:
    """Rank the parameters by the trials' first measurements, which stopped ones have too; empty with fewer than four trials."""
    first = [t.measures[0] for t in trials if t.measures]
    if len(first) < 4:
        return []
    objective = np.array([m.value for m in first])
    clips = int(np.median([m.clips_seen for m in first]))
    found = []
    for p in parameters:
        values = [m.values[p.name] for m in first]
        if len(set(map(str, values))) < 2:
            continue
        test = stats.permutation_test(
            (objective,),
            lambda shuffled, values=values: abs(_strength(values, shuffled)),
            permutation_type="pairings",
            alternative="greater",
            vectorized=False,
            n_resamples=999,
            random_state=np.random.default_rng(0),
        )
        strength, chance = _strength(values, objective), float(test.pvalue)
        found.append(Importance(name=p.name, strength=strength, chance=chance, trials=len(first), at_clips=clips))
    return sorted(found, key=lambda i: -abs(i.strength))


def _strength(values: Sequence[Any], objective: np.ndarray) -> float:
    if np.ptp(objective) == 0:
        return 0.0
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return float(stats.spearmanr(values, objective).statistic)
    groups = [objective[[str(v) == name for v in values]] for name in sorted(set(map(str, values)))]
    # The Kruskal-Wallis statistic is the squared correlation ratio of the ranks, times their number less one.
    return math.sqrt(stats.kruskal(*groups).statistic / (len(objective) - 1))


def write(state: SweepState, parameters: Sequence[SearchParameter], metric: str, total: int) -> None:
    """Write metrics/sweep.csv and metrics/sweep.json in the current folder, unless no trial has been launched."""
    trials = state.launched()
    if not trials:
        return
    write_csv(TABLE, rows(trials, parameters))
    best = best_of(trials)
    content = {
        "metric": metric,
        "trials": total,
        **{end: sum(t.state == end for t in trials) for end in ENDS},
        "clips": state.clips,
        "sweep": state.sweep_id,
        "best": {"trial": best.number, "value": best.value, **best.values} if best else None,
    }
    write_json(SUMMARY, content)
