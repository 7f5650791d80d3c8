"""The sizes of the networks: all that is needed to build them before loading weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from digan.errors import UserError

CODE_DIM = 512  # width of z, z_m and w, as in StyleGAN2
MAX_DRIFT = 16


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of generator and discriminators.

    ``resolution`` pixels (a power of two from 32), ``channel_base`` and ``channel_max`` give C(res) = min(base / res, max),
    ``mapping_layers`` from z to w, ``modulation_rank`` r, ``classes`` (0: unconditional), ``drift`` velocities of the
    coordinates (0: the paper's model).
    """

    resolution: int
    channel_base: int
    channel_max: int
    mapping_layers: int
    modulation_rank: int
    classes: int
    drift: int = 0  # models saved before it existed have none

    def __post_init__(self) -> None:
        if self.resolution < 32 or self.resolution & (self.resolution - 1):
            raise UserError(f"clips.resolution={self.resolution}: must be a power of two from 32; try 32, 64 or 128")
        for name in ("channel_base", "channel_max", "mapping_layers", "modulation_rank"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)}: must be at least 1")
        if not 0 <= self.drift <= MAX_DRIFT:
            raise UserError(
                f"model.drift={self.drift}: must be a number of velocities from 0 to {MAX_DRIFT}; try 0 or 1"
            )
        if self.channel_base < self.resolution:
            raise UserError(
                f"model.channel_base={self.channel_base}: leaves no channel at resolution {self.resolution}; "
                f"try {512 * self.resolution}"
            )

    def channels(self, resolution: int) -> int:
        """C(res) = min(channel_base / res, channel_max)."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def block_resolutions(self) -> list[int]:
        """4, 8, ..., resolution: the nominal resolution of each block."""
        return [2**power for power in range(2, self.resolution.bit_length())]

    def to_json(self) -> dict[str, int]:
        """The fields as saved in ``config.json``."""
        return asdict(self)
