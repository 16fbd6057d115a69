"""Writing files so that a failure leaves no partial file and keeps the old one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the suffix, because image writers choose their format by it. Missing parent
    folders are created.

    Raises:
        UserError: the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UserError(f"{path}: expected the name of a file, got a folder")
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # nothing was left behind: there may not even be a folder to leave it in
            temporary.unlink()


def require_free(path: Path, force: bool, option: str = "--out") -> None:
    """Check, before anything is computed, that a file may be written.

    Args:
        option: the command's, which names another file.

    Raises:
        UserError: there is a folder of that name, or a file and no `force`.
    """
    if path.is_dir():
        raise UserError(f"{path}: expected the name of a file, got a folder; name one with {option}")
    if path.exists() and not force:
        raise UserError(f"{path}: exists; replace it with --force, or name another file with {option}")


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
