"""The generator: latent codes give the weights of a per-pixel network over (x, y, t) (DIGAN, Section 3).

Activations are pixel-major, [B, pixels * T, C]: every layer is one matrix product per video, with the video's matrix M(w)
shared by all pixels and frames.

Legend: B videos, T times, C channels, n grid size, P = n * n pixels.
"""

from __future__ import annotations

import torch
from torch import nn

from digan.models.config import CODE_DIM, NetworkConfig
from digan.models.coordinates import CoordinateFeatures, Velocities, grid_axis, rotate_phases, static_features
from digan.models.mapping import MappingNetwork
from digan.ops.layers import lrelu, reset_parameters
from digan.ops.modulation import ModulatedMatrix, ModulatedRGB

BASE_GRID = 32  # blocks up to this resolution share one grid
FEATURES = 256
TILE = 8192  # pixels * frames of the finest grid synthesized at once without gradients


class SynthesisBlock(nn.Module):
    """The layers of one nominal resolution, and its ToRGB layer.

    Three layers at 128 and 256, one in the first block, two elsewhere, as in the published model.
    """

    def __init__(self, config: NetworkConfig, resolution: int) -> None:
        super().__init__()
        out_channels = config.channels(resolution)
        self.first = resolution == 4
        self.grid = max(resolution, BASE_GRID)
        self.upsamples = resolution > BASE_GRID
        self.features = CoordinateFeatures(CODE_DIM, config.drift) if self.first or self.upsamples else None
        in_channels = 0 if self.first else config.channels(resolution // 2)
        if self.features is not None:
            in_channels += FEATURES
        layers = 1 if self.first else 2 + (resolution in (128, 256))
        self.layers = nn.ModuleList(
            ModulatedMatrix(
                CODE_DIM, in_channels if i == 0 else out_channels, out_channels, rank=config.modulation_rank
            )
            for i in range(layers)
        )
        self.to_rgb = ModulatedRGB(CODE_DIM, out_channels)
        self.out_channels = out_channels


class BlockWeights:
    """A block's matrices for a batch of codes: computed once per video, for any times and grids."""

    def __init__(
        self, block: SynthesisBlock, ws: torch.Tensor, motion: torch.Tensor, velocities: torch.Tensor | None
    ) -> None:
        self.block = block
        self.w_first = ws[:, 0]
        self.motion, self.velocities = motion, velocities
        self.layers = [layer(ws[:, i]) for i, layer in enumerate(block.layers)]
        self.to_rgb = block.to_rgb(ws[:, len(block.layers)])
        self.n = block.grid


class CoordinateLayer:
    """The first layer of a block with coordinate features, prepared for given times.

    Its matrix is split: ``rotated`` [B, 256, T * O] multiplies the static coordinate features, ``static`` [B, I, O] the
    activations of the previous block; ``bias`` is [T * O].
    """

    def __init__(self, weights: BlockWeights, times: torch.Tensor, dtype: torch.dtype) -> None:
        assert weights.block.features is not None
        self.block = weights.block
        self.sinusoids = weights.block.features(weights.w_first, weights.motion, times, weights.velocities)
        self.count = times.shape[1]
        matrix, bias = weights.layers[0]
        split = matrix.shape[1] - FEATURES
        self.rotated = rotate_phases(matrix[:, split:], self.sinusoids.phases).to(dtype)
        self.static = matrix[:, :split].to(dtype)
        self.bias = bias.repeat(self.count).to(dtype)

    def __call__(self, x_bpc: torch.Tensor, rows: int, columns: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        """The layer's output after its activation, [B, rows * n * T, C_out], for a grid of n ``columns`` and ``rows``.

        ``x_bpc`` [B, rows / 2 * n / 2 * T, C_in] is the output of the previous block, at half the resolution; the first block ignores it.
        """
        n, out_channels = len(columns), self.block.out_channels
        features_bpk = static_features(self.sinusoids, columns, down)  # [B, rows * n, 256]
        batch = features_bpk.shape[0]
        if self.block.first:
            y = torch.baddbmm(self.bias, features_bpk.to(self.rotated.dtype), self.rotated)  # [B, rows * n, T * C_out]
        else:
            # a per-pixel layer commutes with nearest upsampling, so x is multiplied before it is upsampled
            low_bpc = torch.baddbmm(self.bias[:out_channels], x_bpc, self.static)
            low = low_bpc.view(batch, rows // 2, 1, n // 2, 1, -1)  # [B, rows / 2, 1, n / 2, 1, T * C_out]
            high_bpc = torch.bmm(features_bpk.to(x_bpc.dtype), self.rotated)
            y = high_bpc.view(batch, rows // 2, 2, n // 2, 2, -1) + low  # each low pixel is added to 2 x 2 high ones
        return lrelu(y).view(batch, rows * n * self.count, out_channels)


def _affine(x: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """x [B, N, I] M^T [B, I, O] + bias [O]."""
    matrix, bias = weights
    return torch.baddbmm(bias.to(x.dtype), x, matrix.to(x.dtype))


class Synthesis(nn.Module):
    """(w, z_m, t) -> RGB."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.resolutions = config.block_resolutions
        self.blocks = nn.ModuleDict({str(res): SynthesisBlock(config, res) for res in self.resolutions})
        self.w_count = sum(len(block.layers) for block in self._blocks()) + 1
        self.velocities = Velocities(CODE_DIM, config.drift) if config.drift else None  # of all blocks together

    def _blocks(self) -> list[SynthesisBlock]:
        return [self.blocks[str(res)] for res in self.resolutions]  # type: ignore[misc]

    def prepare(self, ws: torch.Tensor, motion: torch.Tensor) -> list[BlockWeights]:
        """ws [B, w_count, 512] and z_m [B, 512] -> each block's matrices; block i's ToRGB takes the w of the layer that follows it."""
        velocities = None if self.velocities is None else self.velocities(motion)
        prepared, start = [], 0
        for block in self._blocks():
            stop = start + len(block.layers)
            prepared.append(BlockWeights(block, ws[:, start : stop + 1], motion, velocities))
            start = stop
        return prepared

    def synthesize(
        self, prepared: list[BlockWeights], times: torch.Tensor, *, extent: float = 1.0, grid_factor: int = 1
    ) -> torch.Tensor:
        """Frames at ``times`` [B, T] -> float [B, T, 3, R, R] in about [-1, 1].

        ``extent`` > 1 shows a wider part of the plane; ``grid_factor`` k gives a k times finer grid, [B, T, 3, k R, k R].
        Without gradients, rows are synthesized in tiles whose activations fit the cache.
        """
        device = times.device
        dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
        with torch.autocast(device.type, enabled=False):
            coordinate_layers = [
                CoordinateLayer(weights, times, dtype) for weights in prepared if weights.block.features
            ]
            columns = grid_axis(BASE_GRID * grid_factor, extent=extent, device=device)
            rows_at_once = BASE_GRID * grid_factor
            if not torch.is_grad_enabled():
                finest = (prepared[-1].n // BASE_GRID) ** 2 * BASE_GRID * grid_factor
                rows_at_once = max(1, TILE // (finest * times.numel()))
            tiles = [
                self._synthesize_rows(
                    prepared,
                    coordinate_layers,
                    start,
                    min(start + rows_at_once, BASE_GRID * grid_factor),
                    extent,
                    grid_factor,
                )
                for start in range(0, len(columns), rows_at_once)
            ]
        rgb = torch.cat(tiles, dim=1) if len(tiles) > 1 else tiles[0]
        return rgb.permute(0, 3, 4, 1, 2).float()

    def _synthesize_rows(
        self,
        prepared: list[BlockWeights],
        coordinate_layers: list[CoordinateLayer],
        start: int,
        stop: int,
        extent: float,
        grid_factor: int,
    ) -> torch.Tensor:
        """RGB [B, rows, n, T, 3] of the finest grid for rows ``start`` to ``stop`` - 1 of the base grid."""
        remaining = iter(coordinate_layers)
        x_bpc = rgb_bhwtc = torch.empty(0)  # p indexes pixels, and times within a pixel
        for weights in prepared:
            block, layers = weights.block, weights.layers
            ratio = weights.n // BASE_GRID  # rows of this block's grid per row of the base grid
            n, top, rows = weights.n * grid_factor, start * ratio, (stop - start) * ratio
            if block.features is not None:
                columns = grid_axis(n, extent=extent, device=weights.w_first.device)
                x_bpc = next(remaining)(x_bpc, rows, columns, columns.flip(0)[top : top + rows])
                layers = layers[1:]
            for layer in layers:
                x_bpc = lrelu(_affine(x_bpc, layer))
            block_rgb = _affine(x_bpc, weights.to_rgb).view(x_bpc.shape[0], rows, n, -1, 3)
            if block.first:
                rgb_bhwtc = block_rgb
            elif block.upsamples:
                # add each low pixel to 2 x 2 high ones: [B, rows / 2, 2, n / 2, 2, T, 3] + [B, rows / 2, 1, n / 2, 1, T, 3]
                tiled = block_rgb.view(x_bpc.shape[0], rows // 2, 2, n // 2, 2, -1, 3)
                rgb_bhwtc = (tiled + rgb_bhwtc[:, :, None, :, None]).view_as(block_rgb)
            else:
                rgb_bhwtc = rgb_bhwtc + block_rgb
        return rgb_bhwtc


class VideoGenerator(nn.Module):
    """Maps content code z, motion code z_m, times t and, if class-conditional, labels to frames (see ``forward``)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(
            code_dim=CODE_DIM, classes=config.classes, width=CODE_DIM, layers=config.mapping_layers
        )
        self.synthesis = Synthesis(config)

    def reset(self, *, generator: torch.Generator) -> VideoGenerator:
        """Reinitialize all weights; returns ``self``."""
        reset_parameters(self, generator=generator)
        return self

    def broadcast_w(self, w: torch.Tensor) -> torch.Tensor:
        """The same w for every layer: [B, 512] -> [B, w_count, 512]."""
        return w[:, None].expand(-1, self.synthesis.w_count, -1)

    def forward(
        self,
        content: torch.Tensor,
        motion: torch.Tensor,
        times: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        truncation: float = 1.0,
    ) -> torch.Tensor:
        """z [B, 512], z_m [B, 512], t [B, T], labels int64 [B] or ``None`` -> frames float32 [B, T, 3, R, R] in about [-1, 1].

        ``truncation`` psi < 1 moves w towards w_avg.
        """
        w = self.mapping.truncate(self.mapping(content, labels), truncation)
        return self.synthesis.synthesize(self.synthesis.prepare(self.broadcast_w(w), motion), times)
