"""The page as a folder for any static host: its files, the network as ONNX, and ONNX Runtime for browsers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from atldas.common.errors import UserError

from ..exporting.checked import export
from ..exporting.command import licence_of
from ..model.lookup import find_weights
from ..model.weights import load
from .browser_runtime import PACKAGE, read_runtime

PAGE = Path(__file__).parent / "page"
BACK_ENDS = "backends.json"  # what computes, as page/engine.js names it
IN_BROWSER = ["wasm", "webgpu"]
NOTICE = f"The files in runtime/ are of npm's {PACKAGE}: Copyright (c) Microsoft Corporation, MIT License.\n"


def write_site(folder: Path, weights: str | Path, runtime: Path | None) -> str:
    """Write the page whose back end is the browser; returns what was checked of its network, in words.

    Args:
        folder: a new or an empty one. It appears whole or not at all.
        weights: as for `find_weights`.
        runtime: as for `read_runtime`.

    Raises:
        UserError: as `find_weights`, `read_runtime` and `export`, or a folder that cannot be written or is not empty.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: expected a new or an empty folder; name another, or remove it")
        files, source = read_runtime(runtime), find_weights(weights)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".page") as place:
            made = Path(place) / "page"
            shutil.copytree(PAGE, made)
            checked = export(load(source), made / "model.onnx", "onnx", trimap="plane", licence=licence_of(source))
            (made / BACK_ENDS).write_text(json.dumps(IN_BROWSER))
            (made / "runtime").mkdir()
            for name, data in files.items():
                (made / "runtime" / name).write_bytes(data)
            (made / "runtime" / "NOTICE.txt").write_text(NOTICE)
            if folder.is_dir():
                folder.rmdir()  # os.replace takes no folder for another's place on Windows
            os.replace(made, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return checked
