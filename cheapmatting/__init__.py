"""CheapMatting: image matting with the efficient network that ATLDAS found.

from cheapmatting import Matter, cut_out, read_image, read_trimap

image, trimap = read_image("photo.jpg"), read_trimap("trimap.png")
cutout = cut_out(image, Matter().matte(image, trimap))  # uint8 RGBA [H, W, 4]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atldas.common.lazy import lazy_exports

if TYPE_CHECKING:
    from .images import read_image
    from .inference.foreground import cut_out
    from .inference.matte import Matter
    from .trimap import read_trimap

__all__ = ["Matter", "cut_out", "read_image", "read_trimap"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Matter": ".inference.matte",
        "cut_out": ".inference.foreground",
        "read_image": ".images",
        "read_trimap": ".trimap",
    },
)
