"""The survey of a folder of files, and its number of clips against the ingest's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.dataset.shard_index import read_index
from pipelines.ingest import ingest
from pipelines.own_videos import clip_settings, settings_choice, survey
from pipelines.own_videos.settings_choice import Machine
from pipelines.video.video_writer import write_video
from tests.conftest import clips_config, shards_config, source_config


def square_moving(frames: int, start: int, size: int = 48) -> torch.Tensor:
    video = torch.full((frames, 3, size, size), 30, dtype=torch.uint8)
    for t in range(frames):
        left = (start + 2 * t) % (size - 8)
        video[t, :, 8:16, left : left + 8] = 220
    return video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 20 to 40 frames at 24 and 48 frames a second, one too short, one with a cut, one broken."""
    root = tmp_path_factory.mktemp("own") / "with space"
    root.mkdir()
    for number, frames in enumerate((20, 25, 30, 35, 40)):
        write_video(root / f"{number}.mp4", square_moving(frames, number), fps=24 if number < 4 else 48)
    write_video(root / "short ü.mp4", square_moving(6, 0), fps=24)
    write_video(root / "cut.mp4", torch.cat([square_moving(20, 0), 255 - square_moving(20, 3)]), fps=24)
    (root / "broken.mp4").write_bytes(b"\0" * 100)
    return root


def test_number_of_clips_agrees_with_the_ingest(folder: Path, tmp_path: Path) -> None:
    found = survey.survey(folder)
    plan = clip_settings.plan(found)
    settings = settings_choice.choose(found, plan, Machine(cores=2, gpus=0), hours=1, measure=lambda _: 50.0)
    changes = {each.key: each.value for each in settings}
    clips = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith("clips.")}
    source = source_config(
        name="folder", path=changes["source.path"], classes=changes["source.classes"], max_rejected=1.0
    )
    ingest(source, replace(clips_config(), **clips), shards_config(), tmp_path / "shards", jobs=1)
    index = read_index(tmp_path / "shards")
    made = sum(sum(shard.windows) for shards in index.splits.values() for shard in shards)
    assert plan.clips == pytest.approx(made, abs=1) and made > 30


def test_survey_names_what_it_decoded_and_what_is_wrong(folder: Path) -> None:
    found = survey.survey(folder)
    assert (len(found.videos), found.decoded, list(found.rejected)) == (8, 8, ["broken.mp4"])
    assert found.side == 48 and found.rates[0] == 24 and found.common_rate == 24
    cuts = [len(each.parts) - 1 for each in found.scenes(0.0)]
    assert sorted(cuts) == [0] * 6 + [1]


def test_bounded_number_of_videos_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MOST_VIDEOS", 3)
    found = survey.survey(folder)
    assert (len(found.videos), found.decoded) == (8, 3)
    assert survey.survey(folder).looks[0].frames == found.looks[0].frames  # the same ones again
