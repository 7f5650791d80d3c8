"""`digan init FOLDER`: look at a folder of videos and write a params.yaml for them, with a reason for each value."""

from __future__ import annotations

import argparse
import difflib
import re
import textwrap
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digan import atomic
from digan.errors import UserError
from digan.redaction import redacted
from pipelines.cli import preset
from pipelines.params_file import set_values
from pipelines.storage import file_io

if TYPE_CHECKING:
    from pipelines.own_videos.settings_choice import Setting
    from pipelines.params import Params

MOST_HOURS = 10_000
WIDTH = 140  # of a line with a reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `digan init`."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder of videos, at any depth; its sub-folders may be classes")
    add("--hours", type=float, default=1.0, help="time for the training on this machine (default: 1)")
    add("--out", type=file_io.local, default=Path("params.yaml"), help="the file to write (default: params.yaml)")
    parser.set_defaults(command=init_command)


def init_command(arguments: argparse.Namespace) -> None:
    """Run `digan init`: survey, choose, write, and show cost and warnings. A present file is kept."""
    out, hours = arguments.out, arguments.hours
    if not 0 < hours <= MOST_HOURS:
        raise UserError(f"--hours {hours:g}: must be above 0 and at most {MOST_HOURS}; try 1")
    atomic.check_files_writable(out, out.with_name(f"{out.name}.before"))
    from pipelines.cluster import dry_run
    from pipelines.own_videos import clip_settings, expectations, settings_choice
    from pipelines.own_videos.survey import survey

    machine = settings_choice.Machine.here()
    busy = expectations.busy(machine.cores)  # before the survey, which is load itself
    found = survey(local_folder(arguments.folder))
    clips = clip_settings.plan(found)
    print("\n".join(f"init: {line}" for line in expectations.described(found, clips)), flush=True)
    settings = settings_choice.choose(found, clips, machine, hours=hours, measure=clips_per_second)
    text = parameter_text(settings, heading=f"for {found.folder}, written by `digan init --hours {hours:g}`")
    chosen = composed({each.key: each.value for each in settings})
    for line in write(out, text):
        print(line)
    print(dry_run.show(chosen.training, network(chosen), chosen.cluster))
    speed = chosen.training.clips / (hours * 3600)
    print(f"expect: {expectations.expected(chosen.training.clips, chosen.clips.resolution, speed)}")
    for line in filter(None, [busy, *expectations.warnings(found, clips, training_clips=chosen.training.clips)]):
        print(f"warning: {line}")
    stages = (
        "dvc repro"
        if Path("dvc.yaml").is_file()
        else "python -m pipelines.ingest, then .reference, .train, .evaluate, .register"
    )
    print(f"next: {stages}; what to change when samples look wrong: docs/own-videos.md")


def local_folder(given: str) -> Path:
    """The folder of videos. ``UserError`` if it is none on this machine."""
    if "://" in given:
        raise UserError(
            f"{given}: must be a folder on this machine; copy some videos here, and set source.path afterwards"
        )
    path = file_io.local(given)
    if not given or not path.is_dir():
        problem = "is a file" if given and path.exists() else "no such folder"
        raise UserError(f"{given or 'FOLDER'}: {problem}; give the path of a folder of videos")
    return path


def composed(values: dict[str, Any]) -> Params:
    """The demo's parameters with ``values`` by dotted name."""
    from pipelines import params
    from pipelines.params_file import read

    sections: dict[str, Any] = read(preset.find(preset.COMPLETE))
    for key, value in values.items():
        *parents, last = key.split(".")
        node = sections
        for parent in parents:
            node = node[parent]
        node[last] = value
    return params.compose(sections, "params.yaml")


def network(chosen: Params) -> Any:
    """The configuration of the networks; the number of classes hardly changes their cost."""
    return chosen.model.config(resolution=chosen.clips.resolution, classes=int(chosen.source.classes))


def clips_per_second(values: dict[str, Any]) -> float:
    """The speed on this machine with these values, from a few updates."""
    from pipelines.cluster import dry_run

    chosen = composed(values)
    print(f"init: measuring at {chosen.clips.resolution}x{chosen.clips.resolution}", flush=True)
    seconds, _, _ = dry_run.measure(chosen.training, network(chosen), threads=chosen.cluster.cpus_per_worker)
    rounds = -(-chosen.training.micro_batches // chosen.cluster.workers)
    return chosen.training.batch_size / (rounds * seconds)


def parameter_text(settings: Sequence[Setting], *, heading: str) -> str:
    """The complete parameter file, with a reason above each line that was chosen."""
    path = preset.find(preset.COMPLETE)
    text = set_values(path.read_text(encoding="utf-8"), {each.key: each.value for each in settings}, path)
    reasons, sections, lines = {each.key: one_line(each.reason) for each in settings}, [""] * 3, []
    for line in text.splitlines():
        if match := re.match(r"( *)([\w-]+):", line):
            depth = len(match[1]) // 2
            sections[depth:] = [match[2], *[""] * (2 - depth)]
            if reason := reasons.pop(".".join(filter(None, sections)), None):
                start = f"{match[1]}# {match[2]}: "
                lines += textwrap.wrap(reason, WIDTH, initial_indent=start, subsequent_indent=f"{match[1]}#   ")
        lines.append(line)
    assert not reasons, reasons
    lines[0] = lines[0].replace("of the demo.", f"{one_line(heading)}. A line above a value has the reason for it.")
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """The text without line breaks and other characters that end a comment or are not shown, from names of folders."""
    return "".join(each if each.isprintable() else " " for each in text)


def write(out: Path, text: str) -> list[str]:
    """Write the file, keep the one that was there, and return what to tell the user, the difference included."""
    if not out.exists():
        atomic.write_text(out, text)
        return [f"{out}: written"]
    old = out.read_bytes()
    if old == text.encode():
        return [f"{out}: is up to date"]
    kept = next(path for path in before(out) if not path.exists() or path.read_bytes() == old)
    atomic.write_bytes(kept, old)
    atomic.write_text(out, text)
    lines = old.decode("utf-8", "replace").splitlines(), text.splitlines()
    changes = difflib.unified_diff(*lines, str(kept), str(out), n=0, lineterm="")
    return [redacted("\n".join(line for line in changes if not line.startswith("@@"))), f"{out}: written; kept {kept}"]


def before(out: Path) -> Any:
    """Names for the former file: params.yaml.before, and if another one has it, params.yaml.before-2 and so on."""
    yield out.with_name(f"{out.name}.before")
    yield from (out.with_name(f"{out.name}.before-{number}") for number in count(2))
