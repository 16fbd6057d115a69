"""ONNX Runtime for browsers: an npm package of a fixed version, which the user fetches and names.

Its files are too large for this project, and nothing is fetched that nobody asked for.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atldas.common.errors import UserError

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
TARBALL = f"onnxruntime-web-{VERSION}.tgz"
FETCH = f"npm pack {PACKAGE}"
# Files of the package's folder `dist` -> SHA-256. The first three compute with WebAssembly, the others with WebGPU.
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}


def read_runtime(source: Path | None) -> dict[str, bytes]:
    """The files that a page needs, by name, checked; 42 MB.

    Args:
        source: the package as npm packs it (.tgz), or its unpacked folder.

    Raises:
        UserError: None, no such package, one of another version, or a damaged one; the error says how to fetch it.
    """
    if source is None:
        raise UserError(f"expected --runtime with npm's {PACKAGE}; fetch it with: {FETCH}; then --runtime {TARBALL}")
    try:
        with _reading(source) as read:
            files = {name: read(f"dist/{name}") for name in FILES}
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"{source}: expected npm's {PACKAGE}, packed or unpacked, got none; fetch it with: {FETCH}"
        ) from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != FILES[name]:
            raise UserError(f"{source}: expected {PACKAGE}, got another {name}; fetch it with: {FETCH}")
    return files


@contextmanager
def _reading(source: Path) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a file in the package to its bytes."""
    if source.is_dir():
        yield lambda name: (source / name).read_bytes()
        return
    with tarfile.open(source) as packed:

        def member(name: str) -> bytes:
            file = packed.extractfile(f"package/{name}")
            if file is None:
                raise KeyError(name)
            return file.read()

        yield member
