"""CheapMatting: image matting with the efficient network that ATLDAS found.

from cheapmatting import Matter, cut_out, read_image, read_trimap

image, trimap = read_image("photo.jpg"), read_trimap("trimap.png")
cutout = cut_out(image, Matter().matte(image, trimap))  # uint8 RGBA [H, W, 4]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .images import read_image
    from .inference.foreground import cut_out
    from .inference.matte import Matter
    from .trimap import read_trimap

__all__ = ["Matter", "cut_out", "read_image", "read_trimap"]

# Where each name is; imported when it is first used, since PyTorch takes a second to import.
_HOMES = {
    "Matter": ".inference.matte",
    "cut_out": ".inference.foreground",
    "read_image": ".images",
    "read_trimap": ".trimap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
