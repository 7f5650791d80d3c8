"""A video that crashes its decoder costs one line of `digan evaluate`, whose own process lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.evaluation import folder_decoding
from pipelines.evaluation.video_folder import VideoFolder
from tests.pipelines.evaluation.test_video_folder import make_videos

CRASHING = "tests.pipelines.evaluation.crashing_decoder"


def test_video_that_crashes_its_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_videos(tmp_path, 1, count=3)
    monkeypatch.setattr(folder_decoding, "FUNCTION", f"{CRASHING}:crashing_at_once")
    folder = VideoFolder(tmp_path, "--real", 8)
    assert [video.name for video in folder.videos] == ["v0.mp4", "v2.mp4"]
    assert "v1.mp4 cannot be decoded: its process died (signal 11)" in folder.notes[0]

    monkeypatch.setattr(folder_decoding, "FUNCTION", f"{CRASHING}:crashing_later")
    folder = VideoFolder(tmp_path, "--real", 8)
    assert len(folder.videos) == 3
    with pytest.raises(UserError, match=r"^--real .*: v1.mp4 cannot be decoded: its process died \(signal 11\); take"):
        list(folder.read(folder.windows(choice="videos", count=3, seed=0)))
