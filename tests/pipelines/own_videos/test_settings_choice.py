"""The values that `digan init` chooses, and its warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digan.errors import UserError
from pipelines.own_videos import clip_settings, expectations, settings_choice
from pipelines.own_videos.settings_choice import Machine
from pipelines.own_videos.survey import Survey
from pipelines.video.raw_video import RawVideo
from tests.pipelines.own_videos.test_scenes import moving, seen

TWO_CORES = Machine(cores=2, gpus=0)


def folder_of(count: int, *, frames: int = 60, size: tuple[int, int] = (320, 240), classes: int = 0) -> Survey:
    names = [f"c{i % classes}/{i}.mp4" if classes else f"{i}.mp4" for i in range(count)]
    videos = tuple(RawVideo(name=n, path=n, class_name=n.split("/")[0] if classes else None) for n in names)
    looks = (seen(moving(frames), size=size),) * min(count, 40)
    return Survey(folder=Path("Mein Urlaub (süß)"), videos=videos, looks=looks, rejected={}, decoded=len(looks))


def chosen(survey: Survey, *, hours: float = 1.0, speed: float = 50.0, machine: Machine = TWO_CORES) -> dict[str, Any]:
    """The choice on a machine that makes ``speed`` clips a second at 32x32, a quarter as many at twice the size."""
    settings = settings_choice.choose(
        survey,
        clip_settings.plan(survey),
        machine,
        hours=hours,
        measure=lambda values: speed * (32 / values["clips.resolution"]) ** 2,
    )
    assert all(each.reason for each in settings)
    return {each.key: each.value for each in settings}


def test_settings_known_to_work_for_many_clips() -> None:
    values = chosen(folder_of(600))
    expected = {"training.r1_gamma": 10, "training.generator_lr": 0.004, "training.discriminator_lr": 0.002}
    expected |= {"training.batch_size": 8, "training.micro_batch": 4, "training.mismatch_weight": 0.5, "model.drift": 0}
    expected |= {"model.channel_max": 32, "training.augment": "", "cluster.workers": 2, "source.classes": False}
    assert {key: values[key] for key in expected} == expected
    assert values["registry.model"] == "digan-mein-urlaub-su"


def test_length_follows_the_time_and_size_follows_the_length() -> None:
    short, longer = chosen(folder_of(600), hours=0.5), chosen(folder_of(600), hours=8)
    assert (short["clips.resolution"], longer["clips.resolution"]) == (32, 64)
    assert short["training.clips"] == 72_000  # 0.5 h at 0.8 * 50 clips a second
    assert longer["training.clips"] == 280_000  # 8 h at 0.8 * 12.5, two digits
    assert chosen(folder_of(600, size=(48, 36)), hours=1000)["clips.resolution"] == 32  # no larger than the videos
    assert chosen(folder_of(600, size=(48, 24)), hours=1000)["clips.resolution"] == 32
    assert chosen(folder_of(600), hours=1e-3)["training.clips"] >= 1000


@pytest.mark.parametrize(
    ("cores", "gpus", "workers", "threads"), [(1, 0, 1, 1), (2, 0, 2, 1), (9, 0, 2, 4), (8, 1, 1, 8)]
)
def test_workers_share_the_machine(cores: int, gpus: int, workers: int, threads: int) -> None:
    values = chosen(folder_of(600), machine=Machine(cores=cores, gpus=gpus))
    assert (values["cluster.workers"], values["cluster.cpus_per_worker"]) == (workers, threads)
    assert values["cluster.gpus_per_worker"] == (gpus > 0)


@pytest.mark.parametrize("survey", [folder_of(20), folder_of(300, frames=17), folder_of(50, frames=200)])
def test_few_clips_or_videos_are_augmented_and_named(survey: Survey) -> None:
    assert chosen(survey)["training.augment"] == "color,translation"
    lines = list(expectations.warnings(survey, clip_settings.plan(survey), training_clips=50_000))
    assert any("are few: samples will resemble these videos" in line for line in lines)


@pytest.mark.parametrize(
    ("counts", "use", "reason"),
    [
        ({"": 9}, False, "no sub-folders"),
        ({"cat": 30, "dog": 20}, True, "2 sub-folders with 20 videos or more each"),
        ({"cat": 30, "dog": 3}, False, "the sub-folder dog has 3 videos"),
        ({"cat": 30, "dog": 20, "": 1}, False, "1 videos are in no sub-folder"),
        ({"Train": 30, "test": 20}, False, "look like splits"),
        ({"cat": 30}, False, "one sub-folder alone"),
        ({f"{i}": 50 for i in range(200)}, False, "200 sub-folders are too many"),
    ],
)
def test_sub_folders_are_classes_where_each_has_enough(counts: dict[str, int], use: bool, reason: str) -> None:
    found = settings_choice.classes(counts)
    assert found[0] == use and reason in found[1]


def test_both_splits_have_videos_or_the_line_says_why_not() -> None:
    from digan.data.splits import split_of

    for count in range(2, 9):
        names = [f"{i}.mp4" for i in range(count)]
        share = chosen(folder_of(count))["clips.validation_share"]
        assert {split_of(name, share) for name in names} == {"train", "val"}
    with pytest.raises(UserError, match="its 1 videos cannot be divided into train and validation; cut a long video"):
        chosen(folder_of(1))


def test_cuts_stillness_and_rejected_videos_are_warned_of() -> None:
    clip = np.concatenate([moving(12, seed=seed) for seed in range(6)])
    looks = (seen(clip), seen(clip), *[seen(moving(72, speed=0))] * 2, seen(moving(9)))
    survey = Survey(
        folder=Path("x"), videos=folder_of(6).videos, looks=looks, rejected={"5.mp4": "the file is empty"}, decoded=6
    )
    plan = clip_settings.plan(survey)
    text = "\n".join(expectations.warnings(survey, plan, training_clips=500))
    for part in (
        "of the clips span a cut",
        "hardly move",
        "too short for a clip",
        "5.mp4 the file is empty",
        "--hours",
    ):
        assert part in text, (part, text)
