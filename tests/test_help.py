"""`--help` of every verb ends in examples that its parser takes, and shells complete both commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import atldas.command
import cheapmatting.command
from atldas.common.verbs import SHELLS

MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "atldas": atldas.command.main,
    "cheapmatting": cheapmatting.command.main,
}


def printed(name: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` prints."""
    with pytest.raises(SystemExit, match=r"^0$"):
        MAINS[name]([*words, "--help"])
    return capsys.readouterr().out


def verbs(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.findall(r"^    ([a-z][\w-]*)\s", printed(name, [], capsys), flags=re.MULTILINE)


def examples(text: str) -> list[list[str]]:
    """The words of each example, without what a shell sends elsewhere."""
    _, _, found = text.partition("\nexamples:\n")
    lines = found.replace("\\\n", " ").splitlines()
    return [shlex.split(re.sub(r" > \S+$", "", line)) for line in lines if line.strip()]


@pytest.mark.parametrize("name", MAINS)
def test_the_examples_of_every_verb_are_commands(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atldas.common.verbs.exit_status", lambda work: 0)  # only read the words
    assert len(verbs(name, capsys)) > 9
    for verb in verbs(name, capsys):
        text = printed(name, [verb], capsys)
        said = examples(text)
        assert any(words[:2] == [name, verb] for words in said), f"{name} {verb}: no example of it"
        assert re.search(r"\n\n[A-Z][^\n]*\.(\n[A-Z].*)?\n\n", text), f"{name} {verb}: no description"
        for words in said:
            at = next((place for place, word in enumerate(words) if word in MAINS), None)
            assert at is not None or words[0] == "curl", words
            assert at is None or MAINS[words[at]](words[at + 1 :]) == 0, words


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The completion scripts of both commands for every shell: `atldas.bash`, ..."""
    folder = tmp_path_factory.mktemp("completion")
    capture = pytest.MonkeyPatch()
    found = {}
    for name, main in MAINS.items():
        for shell in SHELLS:
            lines: list[str] = []
            capture.setattr("builtins.print", lines.append)
            assert main(["completion", shell]) == 0
            capture.undo()
            found[f"{name}.{shell}"] = folder / f"{name}.{shell}"
            found[f"{name}.{shell}"].write_text("\n".join(lines) + "\n")
    return found


def completed(scripts: dict[str, Path], line: str, folder: Path) -> list[str]:
    """What bash offers for the last word of a line, in a folder."""
    words = line.split(" ")
    sources = "".join(f"source {scripts[f'{name}.bash']}\n" for name in MAINS)
    shell = f"""{sources}
COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
$(complete -p {words[0]} | sed -E 's/.* -F ([^ ]+).*/\\1/'); printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    # compopt complains on standard error: this is no real completion
    done = subprocess.run(["bash", "-c", shell], cwd=folder, text=True, capture_output=True)
    return sorted(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cheapmatting pre", ["preview-data"]),
        ("cheapmatting matte pho", ["photo.jpg", "photos"]),
        ("cheapmatting matte photo.jpg trimap.png --eng", ["--engine"]),
        ("cheapmatting matte photo.jpg --views ", ["1", "2", "4"]),
        ("cheapmatting export cheapmatting-light --format p", ["pt2"]),
        ("atldas export darts_v2 --out ph", ["photo.jpg", "photos"]),
        ("atldas completion ", sorted(SHELLS)),
    ],
)
def test_bash_completes_verbs_options_choices_and_files(
    scripts: dict[str, Path], tmp_path: Path, line: str, expected: list[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.jpg").touch()
    assert completed(scripts, line, tmp_path) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_is_one_of_its_shell_and_knows_every_verb(
    scripts: dict[str, Path], shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in MAINS:
        text = scripts[f"{name}.{shell}"].read_text()
        assert all(verb in text for verb in verbs(name, capsys))
        if shutil.which(shell):
            subprocess.run([shell, "-n", scripts[f"{name}.{shell}"]], check=True)
