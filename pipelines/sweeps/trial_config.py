"""The configuration of a sweep and of its trials: sections of params.yaml with a trial's values applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from digan.errors import UserError
from pipelines.cluster.training_driver import TrainingSections
from pipelines.evaluation.config import EvaluationConfig
from pipelines.sweeps import space
from pipelines.sweeps.config import SweepConfig


class SweepSections(TrainingSections, Protocol):
    """The sections of params.yaml that a sweep and its trainings use: a frozen dataclass that checks itself."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def evaluation(self) -> EvaluationConfig: ...
    @property
    def tune(self) -> SweepConfig: ...


Sections = TypeVar("Sections", bound=SweepSections)


def for_trial(sections: Sections, values: Mapping[str, Any]) -> Sections:
    """Return the sections of a trial: ``values`` by dotted name, and the trial's length, intervals and workers."""
    tune, length = sections.tune, trial_length(sections)
    changes: dict[str, dict[str, Any]] = {
        "training": {
            "clips": length,
            "checkpoint_interval": tune.grace_period,
            "sample_interval": length,
            "snapshot_interval": length,
            "on_divergence": "stop",  # the trial has failed; the sweep continues
        },
        "cluster": {"workers": tune.workers},
        "tune": {"space": {}},
    }
    for name, value in values.items():
        section, _, key = name.partition(".")
        changes.setdefault(section, {})[key] = value
    return replace(sections, **{name: replace(getattr(sections, name), **part) for name, part in changes.items()})


def trial_length(sections: SweepSections) -> int:
    """Return the number of clips of a trial that runs to its end."""
    return sections.tune.clips or sections.training.clips


def search_space(sections: SweepSections) -> list[space.SearchParameter]:
    """Return the parameters that a sweep varies; ``UserError`` unless params.yaml could hold each limit of a range."""
    tune, length = sections.tune, trial_length(sections)
    if not tune.space:
        example = "training.r1_gamma: {loguniform: [0.1, 10]}"
        raise UserError(f"tune.space: is empty; name parameters to vary, such as {example}")
    if (first := tune.grace_period) > length:
        remedy = f"try {max(length // 4, 1)}"
        raise UserError(f"tune.grace_period={first}: is longer than a trial of {length} clips; {remedy}")
    for_trial(sections, {})
    parameters = space.parse(tune.space, sections.as_dict())
    if tune.search == "grid":
        space.grid(parameters)
    for parameter in parameters:
        if tune.scheduler == "pbt" and not parameter.name.startswith("training."):
            reason = "cannot vary with tune.scheduler=pbt, whose trials exploit each other's weights"
            raise UserError(f"tune.space.{parameter.name}: {reason}; set tune.scheduler=asha")
        for value in parameter.values or (parameter.low, parameter.high):
            try:
                for_trial(sections, {parameter.name: value})
            except UserError as error:
                raise UserError(f"tune.space.{error}") from None
    return parameters
