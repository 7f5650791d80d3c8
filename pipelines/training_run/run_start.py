"""The weights that a run begins with: fetched once, from ``training.start_from``, and kept in the run's store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from digan.models.config import NetworkConfig
from digan.training import start_weights
from digan.training.start_weights import StartWeights
from pipelines.tracking.runs import TrackingConfig
from pipelines.training_run.checkpoint_store import store_at

LoadStart = Callable[[str, TrackingConfig, NetworkConfig, Sequence[str]], StartWeights]


def no_start(address: str, tracking: TrackingConfig, model: NetworkConfig, classes: Sequence[str]) -> StartWeights:
    """The loader of a caller that sets no ``training.start_from``."""
    raise AssertionError(f"training.start_from={address}: this caller loads no models")


class RunStart:
    """The start of the run in ``output``, a folder or an s3:// address; without an ``address``, random weights.

    A run that ``resumes`` has a copy, unless it was stopped before it was written.
    """

    def __init__(self, address: str, output: str, *, resumes: bool) -> None:
        self._address, self._store, self._resumes = address, store_at(output), resumes
        self._weights: StartWeights | None = None

    def fetch(self, load: LoadStart, tracking: TrackingConfig, model: NetworkConfig, classes: Sequence[str]) -> None:
        """Load the weights, unless the run has its copy. ``UserError`` if they do not fit networks and classes."""
        if self._address and not (self._resumes and start_weights.NAME in self._store.names()):
            self._weights = load(self._address, tracking, model, classes)

    def keep(self, notify: Callable[[str], None]) -> None:
        """Write the run's copy of what was fetched."""
        if self._weights is not None:
            start_weights.write(self._weights, self._store)
            both = "generator and discriminator" if self._weights.has_discriminator else "the generator"
            notify(f"starting from {both} of {self._address}")
