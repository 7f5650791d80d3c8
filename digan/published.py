"""Maps parameter names of the published model to this package's."""

from __future__ import annotations

import re

_RULES = [
    (r"^G\.mapping\.w_avg$", "generator.mapping.average"),
    (r"^G\.mapping\.embed\.", "generator.mapping.embed."),
    (r"^G\.mapping\.fc(\d+)\.", r"generator.mapping.layers.\1."),
    (r"^G\.synthesis\.b4\.input\.input\.coord_fuser\.", "generator.synthesis.blocks.4.features."),
    (r"^G\.synthesis\.b4\.conv1\.", "generator.synthesis.blocks.4.layers.0."),
    (r"^G\.synthesis\.b(\d+)\.coord_fuser\.", r"generator.synthesis.blocks.\1.features."),
    (r"^G\.synthesis\.b(\d+)\.conv([01])\.", r"generator.synthesis.blocks.\1.layers.\2."),
    (r"^G\.synthesis\.b(\d+)\.extra_convs\.0\.", r"generator.synthesis.blocks.\1.layers.2."),
    (r"^G\.synthesis\.b(\d+)\.torgb\.", r"generator.synthesis.blocks.\1.to_rgb."),
    (r"\.features\.xyaffine\.", ".features.content."),
    (r"\.features\.affine\.", ".features.motion."),
    (r"\.features\.motion_mlp\.(\d)\.", r".features.phase.\1."),
    (r"^D\.videoD\.", "discriminator.motion."),
    (r"^D\.imageD\.", "discriminator.image."),
    (r"^(discriminator\.\w+)\.b4\.fc\.", r"\1.dense."),
    (r"^(discriminator\.\w+)\.b4\.", r"\1."),
    (r"^(discriminator\.\w+\.mapping)\.fc(\d+)\.", r"\1.layers.\2."),
]


def our_name(published: str, *, resolution: int) -> str:
    """``G.synthesis.b8.conv0.weight`` -> ``generator.synthesis.blocks.8.layers.0.weight``.

    ``resolution`` is the model's, since discriminator blocks are numbered from it down. Raises ``KeyError`` for an unknown name.
    """
    name = published
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    block = re.match(r"^(discriminator\.\w+)\.b(\d+)\.(.*)$", name)
    if block:
        head, size, rest = block.groups()
        if rest.startswith("fromrgb."):
            name = f"{head}.from_rgb.{rest.removeprefix('fromrgb.')}"
        else:
            name = f"{head}.blocks.{(resolution // int(size)).bit_length() - 1}.{rest}"
    if not name.startswith(("generator.", "discriminator.")):
        raise KeyError(published)
    return name
