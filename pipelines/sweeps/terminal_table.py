"""A sweep in the terminal: a live table of trials; in a file, a line for each change of a trial."""

from __future__ import annotations

import json
from typing import Any

from pipelines.report.progress_display import ProgressDisplay
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, FINISHED, RUNNING, STOPPED, WAITING, SweepState, TrialRecord, best_of

COLORS = {RUNNING: "bold", FINISHED: "green", STOPPED: "yellow", FAILED: "red"}


class SweepDisplay:
    """Shows the trials of ``state``, each of ``length`` clips; ``total`` counts trials not launched yet as well."""

    def __init__(
        self, state: SweepState, parameters: list[SearchParameter], metric: str, length: int, total: int
    ) -> None:
        self.state, self.parameters, self.metric, self.length, self.total = state, parameters, metric, length, total
        self.clips_before, self._display = state.clips, ProgressDisplay("tune")
        self.message = self._display.message
        self._shown = {t.number: (t.state, len(t.measures)) for t in state.launched()}

    def __enter__(self) -> SweepDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        if self._display.is_live:
            self._display.render(self.table(), last=True)

    def update(self) -> None:
        """Show changes: the table on a terminal, with the reasons of ended trials above it; in a file a line per change."""
        for trial in self.state.launched():
            mark = trial.state, len(trial.measures)
            if trial.state == WAITING or mark == self._shown.get(trial.number):
                continue
            self._shown[trial.number] = mark
            if not self._display.is_live:
                self.message(self.line(trial))
            elif trial.reason:
                self.message(f"trial {trial.number:03d} {trial.state}: {trial.reason}")
        if self._display.is_live:
            self._display.render(self.table())

    def line(self, trial: TrialRecord) -> str:
        """``trial 003  running  2 000 clips  frechet_transnetv2 41.2  training.r1_gamma=0.5``."""
        measured = [f"{self.metric} {trial.value:.4g}"] if trial.measures else []
        values = [f"{p.name}={trial.values[p.name]}" for p in self.parameters]
        parts = [f"trial {trial.number:03d}", trial.state, f"{grouped(trial.clips)} clips", *measured, *values]
        return "  ".join([*parts, f"({trial.reason})"] if trial.reason else parts)

    def table(self) -> Any:
        """Return a rich table of all launched trials, the best marked by ``*``."""
        from rich.markup import escape
        from rich.table import Table

        trials, seconds = self.state.launched(), self._display.seconds
        best, ended = best_of(trials), sum(t.ended for t in trials)
        speed = f"{(self.state.clips - self.clips_before) / seconds:.0f} clips/s, {duration(seconds)}"
        title = f"{ended} of {self.total} trials ended, {grouped(self.state.clips)} clips, {speed}"
        table = Table(title=title, title_justify="left")
        short = [p.name.rpartition(".")[2] for p in self.parameters]
        names = short if len(set(short)) == len(short) else [p.name for p in self.parameters]
        for name in ("trial", *names, "clips", self.metric, "state"):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right")
        for trial in trials:
            clips = max(trial.clips, self._logged_clips(trial)) if trial.state == RUNNING else trial.clips
            table.add_row(
                f"{trial.number:03d}",
                *(escape(str(trial.values[p.name])) for p in self.parameters),
                f"{grouped(clips)} {100 * clips // self.length:3d}%",
                f"{'*' if trial is best else ''}{trial.value:.4g}" if trial.measures else "",
                trial.state,
                style=COLORS.get(trial.state, ""),
            )
        return table

    def _logged_clips(self, trial: TrialRecord) -> int:
        """Return the clips seen by a running trial according to its log, 0 if the log cannot be read from here."""
        log = self.state.trial_folder(trial.number) / "train" / "log.jsonl"
        try:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - 4096))
                return int(json.loads(file.read().splitlines()[-1])["clips_seen"])
        except (OSError, ValueError, IndexError, KeyError, TypeError):
            return 0
