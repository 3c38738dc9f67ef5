"""The documents are true: their Python and shell blocks run, what they say is printed is printed, their links exist.

Blocks marked ``python`` and ``sh`` are run, in order, in one namespace and folder; ``console`` blocks are for reading.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from small_models import float_image_net, quantized_net

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "docs/quickstart.md", "docs/quantize.md", "docs/accuracy.md", "docs/speed.md"]


def blocks(document: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / document).read_text(), re.M | re.S)


def promised_lines(code: str) -> list[str]:
    """What comments after print(...) say is printed; '...' stands for anything at its start."""
    return [m.strip() for m in re.findall(r"^ *print\(.*?\) {2,}# (.*)$", code, re.M)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that README.md speaks of, and an `octavo` command that is this interpreter's."""
    monkeypatch.chdir(tmp_path)
    onnx.save(quantized_net(224), "model.onnx")
    onnx.save(float_image_net(224), "float.onnx")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "octavo").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m octavo "$@"\n')
    (commands / "octavo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_run(document: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow (image extra) is not installed")
    image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save("cat.png")
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for language, code in blocks(document):
        if language == "python":
            exec(compile(code, document, "exec"), namespace)
            printed = capsys.readouterr().out
            for line in promised_lines(code):
                assert line.removeprefix("... ") in printed or line.startswith("nothing"), (line, printed)
        elif language == "sh":
            shell = subprocess.run(["sh", "-e", "-c", code], capture_output=True, text=True)
            assert shell.returncode == 0, shell.stderr
        else:
            assert language in ("console", "cpp"), f"{document}: what is a {language} block?"
            continue
        ran += 1
    assert ran >= 2


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md", "docs/plan.md"])
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / document).read_text()):
        assert (ROOT / document).parent.joinpath(target).exists(), target


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in DOCUMENTS:
        for language, code in blocks(document):
            if language == "console":
                assert set(re.findall(r"^make (\w+)", code, re.M)) <= targets
