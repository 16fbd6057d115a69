"""deploy/Containerfile: no engine builds it here, so that its steps are taken one by one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from built_wheel import SOURCES

from cheapmatting.command import main

ROOT = Path(__file__).parents[1]


def instructions(name: str) -> Iterator[list[str]]:
    """The words of every such instruction, in a shell's form or in JSON's."""
    text = (ROOT / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
    for found in re.findall(rf"^{name} (.*)$", text, flags=re.MULTILINE):
        yield json.loads(found) if found.startswith("[") else shlex.split(found)


def test_everything_that_is_copied_is_there_and_builds_the_wheel() -> None:
    copied = [word for words in instructions("COPY") if not words[0].startswith("--") for word in words[:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    assert {*copied} == {*SOURCES, "constraints.txt"}  # the tests build a wheel from just these


def test_its_pip_installs_the_wheel_with_extras_that_it_has(built: Path, tmp_path: Path) -> None:
    (words,) = (words for words in instructions("RUN") if words[:2] == ["pip", "install"])
    places = {"/wheels": str(built), "/constraints.txt": str(ROOT / "constraints.txt")}
    more = ["--dry-run", "--no-deps", "--no-index", "--target", str(tmp_path)]
    call = [sys.executable, "-m", *(places.get(word, word) for word in words), *more]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would install cheapmatting-" in done.stdout and "does not provide the extra" not in done.stderr


def test_its_command_is_one_and_its_check_asks_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atldas.common.verbs.exit_status", lambda work: 0)  # only read the words
    (program, *words), (rest,) = next(instructions("ENTRYPOINT")), list(instructions("CMD"))
    assert program == "cheapmatting" and main([*words, *rest]) == 0
    (check,) = instructions("HEALTHCHECK CMD")
    port = words[words.index("--port") + 1]
    assert [[port]] == list(instructions("EXPOSE")) and f":{port}/healthz" in check[-1]


def test_the_check_passes_only_while_the_server_answers() -> None:
    pytest.importorskip("starlette", reason="the extra web is not installed")
    from serving import serving
    from small import small_network

    from cheapmatting.inference.matte import Matter
    from cheapmatting.server.app import make_app

    (check,) = instructions("HEALTHCHECK CMD")
    with serving(make_app(Matter(small_network().eval(), "cpu", engine="torch"))) as address:
        code = check[-1].replace("http://127.0.0.1:8000", address)
        exec(code, {})
    with pytest.raises(urllib.error.URLError):
        exec(code, {})
