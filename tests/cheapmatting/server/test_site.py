"""The page as a folder, and the package of ONNX Runtime for browsers: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import tarfile
from pathlib import Path

import pytest
from npm import NEEDS_RUNTIME, RUNTIME
from small import small_network

from atldas.common.errors import UserError
from cheapmatting.command import main
from cheapmatting.model import weights
from cheapmatting.server import browser_runtime
from cheapmatting.server import site as site_module
from cheapmatting.server.browser_runtime import FETCH, FILES, TARBALL, read_runtime

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "cheapmatting" / "server" / "page"


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with files of the right names, and the checksums of these."""
    contents = {name: name.encode() * 3 for name in FILES}
    monkeypatch.setattr(
        browser_runtime, "FILES", {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    )
    path = tmp_path / TARBALL
    with tarfile.open(path, "w:gz") as tar:
        for name, data in contents.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@NEEDS_RUNTIME
def test_the_checksums_are_those_of_the_package() -> None:
    assert read_runtime(RUNTIME).keys() == FILES.keys()


def test_packed_and_unpacked_packages_are_read(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / member.name).write_bytes(file.read())
    assert read_runtime(packed) == read_runtime(tmp_path / "package")


def test_another_package_is_refused_with_the_command_that_fetches_it(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "other.tgz").write_bytes(b"no archive")
    (tmp_path / "empty").mkdir()
    for name in ("cut.tgz", "other.tgz", "empty", "absent.tgz"):
        with pytest.raises(UserError, match=re.escape(f"{name}: expected npm's onnxruntime-web@")) as caught:
            read_runtime(tmp_path / name)
        assert str(caught.value).endswith(f"fetch it with: {FETCH}")
    browser_runtime.FILES["ort.wasm.min.mjs"] = "0" * 64
    with pytest.raises(UserError, match=r"got another ort\.wasm\.min\.mjs"):
        read_runtime(packed)


def test_a_static_page_is_whole_or_not_there(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    network = small_network(1, hints=True).eval()
    weights.save(network, tmp_path / "mine.safetensors")
    site = tmp_path / "public" / "site"
    command = ["web", "--static", str(site), "--weights", str(tmp_path / "mine.safetensors")]
    assert main(command) == 2
    assert f"fetch it with: {FETCH}; then --runtime {TARBALL}" in capsys.readouterr().err
    assert not site.parent.exists()
    assert main([*command, "--runtime", str(packed)]) == 0
    assert f"written to {site}" in capsys.readouterr().out
    assert [path.name for path in site.parent.iterdir()] == ["site"]
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    runtime = {f"runtime/{name}" for name in (*FILES, "NOTICE.txt")}
    assert files == {*(path.name for path in PAGE.iterdir()), "backends.json", "model.onnx", *runtime}
    assert json.loads((site / "backends.json").read_text()) == ["wasm", "webgpu"]
    assert main([*command, "--runtime", str(packed)]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err


def test_the_page_names_no_other_host() -> None:
    texts = {path.name: path.read_text() for path in PAGE.iterdir()}
    links = {name: re.findall(r"https?://[^\s\"'<)]+", text) for name, text in texts.items()}
    assert {name: found for name, found in links.items() if found} == {"icon.svg": ["http://www.w3.org/2000/svg"]}


def test_the_version_in_the_documents_is_the_one_that_is_read() -> None:
    named = [
        found
        for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"))
        for found in re.findall(r"onnxruntime-web[@-][0-9][\w.]*(?:\.tgz)?", path.read_text())
    ]
    assert named and set(named) <= {browser_runtime.PACKAGE, TARBALL}


def test_a_port_that_is_taken_is_said_before_the_network_is_exported(
    packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("starlette", reason="the extra web is not installed")
    exported = []
    monkeypatch.setattr(site_module, "write_site", lambda *_: exported.append("too early"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["web", "--no-browser", "--runtime", str(packed), "--port", str(port)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and f"127.0.0.1:{port}: cannot listen there" in said[0] and "another --port" in said[0]
    assert exported == []
