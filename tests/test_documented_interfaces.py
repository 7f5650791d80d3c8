"""Other packages are used through their documented interfaces, so that their next release does not break ours."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interface_names import OWN, own_names
from tests.interface_walker import ASSIGNED, BY_NAME, OVERRIDDEN, PRIVATE, TEXT, Finding, Walker, findings

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Exemption:
    """A use that has no documented way: in which file, of what, why, and the upstream issue that asks for one."""

    path: str
    kind: str
    what: str
    reason: str
    issue: str


EXEMPTIONS: tuple[Exemption, ...] = ()


def kinds(source: str) -> list[tuple[str, str]]:
    """Kind and name of what the walker finds in a file of ours."""
    tree = ast.parse(source)
    walker = Walker("pipelines/example.py", own_names([tree]))
    walker.visit(tree)
    return [(each.kind, each.what) for each in walker.found]


def exempt(finding: Finding) -> bool:
    return any((e.path, e.kind, e.what) == (finding.path, finding.kind, finding.what) for e in EXEMPTIONS)


def test_our_code_uses_documented_interfaces_only() -> None:
    paths = [path for package in OWN for path in sorted((ROOT / package).rglob("*.py"))]
    wrong = [str(each) for each in findings(paths, ROOT) if not exempt(each)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_exemptions_are_few_and_each_has_its_reason_and_issue() -> None:
    assert len(EXEMPTIONS) <= 3
    assert all(len(each.reason) > 20 and each.issue.startswith("https://") for each in EXEMPTIONS)


def test_every_exemption_is_in_use() -> None:
    found = findings([ROOT / each.path for each in EXEMPTIONS], ROOT)
    used = {(each.path, each.kind, each.what) for each in found}
    assert [each for each in EXEMPTIONS if (each.path, each.kind, each.what) not in used] == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import ray._private.node", "ray._private.node"),
        ("from ray import _raylet", "ray._raylet"),
        ("from ray.train.v2._internal import controller", "ray.train.v2._internal.controller"),
        ("import os\nfrom threading import _shutdown", "threading._shutdown"),
        ("import ray\nray._raylet.PlacementGroupID", "ray._raylet"),
        ("import numpy as np\ndef f():\n    return np.core._methods", "numpy.core._methods"),
        ("def f(trainer):\n    trainer._controller.stop()", "trainer._controller"),
        ("import ray\nclass A:\n    def _a(self): ...\nray.get_runtime_context()._a", "ray.get_runtime_context()._a"),
        ("import ray\nclass A:\n    def _a(self, x: ray.Node): x._a", "ray.Node._a"),
        ("import ray\nclass A:\n    def _a(self):\n        self.x = ray.f()\n        self.x._a()", "ray.f()._a"),
        ("class A(B):\n    def f(self):\n        return self._inherited", "self._inherited"),
        ("import importlib\nx = importlib.import_module('ray.util')\nx._a", "ray.util._a"),
        ("getattr(thing, '_hidden', None)", "thing._hidden"),
        ("import ray\nhasattr(ray, '_hidden')", "ray._hidden"),
        ("import importlib\nimportlib.import_module('ray._private')", "ray._private"),
        ("import mlflow\nwith mlflow.start_run() as run:\n    run._end()", "mlflow.start_run()._end"),
    ],
)
def test_private_names_are_found(source: str, what: str) -> None:
    assert (PRIVATE, what) in kinds(source)


@pytest.mark.parametrize(
    "source",
    [
        "import ray\nray.init(_temp_dir='/tmp')",
        "from __future__ import annotations",
        "import os\nos._exit(1)",
        "def f(row):\n    return row._asdict()",
        "class A:\n    def __init__(self):\n        self._a = 1\n    def f(self, other):\n        return self._a + other._a",
        "class A:\n    _a: int\n    def f(self):\n        return self._a",
        "from pipelines.media import video\nclass _A: ...\nvideo._A",
        "import ray\nray.__version__",
        "class A:\n    def __getattr__(self, name):\n        return getattr(self, name)",
        "for _ in range(3):\n    pass",
    ],
)
def test_documented_and_own_names_are_allowed(source: str) -> None:
    assert kinds(source) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("from PIL import Image\nImage.MAX_IMAGE_PIXELS = None", "PIL.Image.MAX_IMAGE_PIXELS"),
        ("import ray\nray.kill, x = None, 1", "ray.kill"),
        ("import ray\ndel ray.kill", "ray.kill"),
        ("import torch\ntorch.utils.flag += 1", "torch.utils.flag"),
        ("import ray\nsetattr(ray.Node, 'start', None)", "ray.Node.start"),
        ("import ray\nfor name in NAMES:\n    setattr(ray.Node, name, None)", "ray.Node.?"),
        ("import ray\ndef test(monkeypatch):\n    monkeypatch.setattr(ray, 'nodes', list)", "ray.nodes"),
        ("def test(monkeypatch):\n    monkeypatch.setattr('ray.nodes', list)", "ray.nodes"),
        ("import webdataset as wds\nw = wds.TarWriter('a')\nw.tarstream = None", "webdataset.TarWriter().tarstream"),
    ],
)
def test_assigned_attributes_are_found(source: str, what: str) -> None:
    assert (ASSIGNED, what) in kinds(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.backends.cudnn.benchmark = True",
        "import av\ndef f(path):\n    with av.open(path) as c:\n        s = c.add_stream('h264')\n        s.width = 2",
        "import torch\nweight = torch.zeros(1)\nweight.grad = None",
        "import time\ndef test(monkeypatch):\n    monkeypatch.setattr(time, 'sleep', print)",
        "from pipelines import train\ndef test(monkeypatch):\n    monkeypatch.setattr(train, 'OUT', 1)",
        "import ray\nclass A:\n    def f(self):\n        self.node = ray.Node()",
    ],
)
def test_documented_settings_and_own_attributes_may_be_assigned(source: str) -> None:
    assert kinds(source) == []


def test_overridden_private_methods_are_found() -> None:
    source = "import torch\nclass A(torch.nn.Module):\n    def _apply(self, fn): ...\n    def _own(self): ..."
    assert kinds(source) == [(OVERRIDDEN, "torch.nn.modules.module.Module._apply")]
    source = "from torch.optim import Adam\nclass A(Adam):\n    def _init_group(self): ...\n    def step(self): ..."
    assert (OVERRIDDEN, "torch.optim.adam.Adam._init_group") in kinds(source)
    through_ours = (
        "from digan.models.generator import VideoGenerator\nclass A(VideoGenerator):\n    def _apply(self, fn): ..."
    )
    assert kinds(through_ours) == [(OVERRIDDEN, "torch.nn.modules.module.Module._apply")]


@pytest.mark.parametrize(
    "source",
    [
        "type(x).__name__ == 'WorkingDirSetter'",
        "x.__class__.__name__ in ('A', 'B')",
        "[each for each in callbacks if type(each).__name__ not in DROPPED]",
        "any(each.__name__ == 'RayError' for each in type(x).__mro__)",
        "type(x).__qualname__.startswith('Ray')",
        "match type(x).__name__:\n    case 'A':\n        pass",
    ],
)
def test_classes_recognized_by_their_name_are_found(source: str) -> None:
    assert [kind for kind, _ in kinds(source)] == [BY_NAME]


def test_a_class_name_may_be_shown() -> None:
    assert kinds("print(f'{type(x).__name__}: failed')\nif __name__ == '__main__':\n    pass") == []


@pytest.mark.parametrize(
    "check",
    [
        "'404' in str(error)",
        "str(error).lower().startswith('no such')",
        "re.search('locked', str(error))",
        "f'{error}' == 'gone'",
        "error.args[0] == 'gone'",
        "any(word in ' '.join(str(error).split()) for word in WORDS)",
    ],
)
def test_errors_recognized_by_their_text_are_found(check: str) -> None:
    caught = f"import re\ntry:\n    f()\nexcept OSError as error:\n    if {check}:\n        raise"
    given = f"import re\ndef f(error: OSError) -> bool:\n    return {check}"
    assert [kind for kind, _ in kinds(caught)] == [kind for kind, _ in kinds(given)] == [TEXT]
    assert TEXT in [kind for kind, _ in kinds("def f(error: OSError):\n    text = str(error)\n    return 'x' in text")]


def test_the_text_of_an_error_may_be_shown() -> None:
    source = (
        "try:\n    f()\nexcept OSError as error:\n    text = str(error)\n    print(text if len(text) < 9 else text[:9])"
    )
    assert kinds(source) == []
    assert kinds("try:\n    f()\nexcept OSError as error:\n    if error.errno == 2:\n        raise") == []
