"""The section ``registry`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from digan.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RegistryConfig:
    """The section ``registry`` of params.yaml; the keys are explained there."""

    model: str
    margin: float
    max_ratio: float
    experiments: bool

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 100:
            raise UserError(f"registry.margin={self.margin}: must be from 0 (any difference counts) to 100; try 1")
        if not (self.max_ratio == 0 or 1 <= self.max_ratio <= 1e6):
            must = "must be 0 (any first version becomes champion) or from 1 to 1000000"
            raise UserError(f"registry.max_ratio={self.max_ratio}: {must}; try 10")
        if not self.model or any(c in self.model for c in "/:@.%\"'") or self.model != self.model.strip():
            raise UserError(f'registry.model="{self.model}": must be a name without / : @ . % or quotes; try digan-toy')
