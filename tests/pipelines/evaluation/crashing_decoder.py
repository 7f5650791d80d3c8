"""Decoders for test_folder_decoding.py that crash at one video; in a module that a child process imports fast."""

from __future__ import annotations

import os
import signal
from typing import Any

from pipelines.evaluation import folder_decoding
from pipelines.evaluation.folder_decoding import DecodeRequest


def crashing_at_once(request: DecodeRequest) -> Any:
    if request.path.name == "v1.mp4":
        os.kill(os.getpid(), signal.SIGSEGV)
    return folder_decoding.work(request)


def crashing_later(request: DecodeRequest) -> Any:
    return crashing_at_once(request) if request.frames else folder_decoding.work(request)
