"""A file that is written only if its own runtime computes what the network computes."""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from atldas import __version__
from atldas.common.checksum import sha256_of_arrays
from atldas.common.errors import UserError

from ..images import read_image
from ..model.network import CheapMatting
from ..trimap import encode_trimap, read_trimap
from .formats import FORMATS, Run
from .whole import LARGEST, TRIMAPS, WholeNetwork, as_plane

# [N, H, W]; the padding is nothing, even, odd and larger than the image.
SIZES = ((1, 96, 160), (1, 31, 45), (2, 97, 130), (1, 200, 333), (1, 1, 70))
# Precision -> the largest error of alpha at any pixel, and in the mean of a picture's unknown pixels.
TOLERANCES = {"fp32": (5e-4, 1e-4), "fp16": (0.1, 2 / 255)}


def export(
    network: CheapMatting, path: Path, kind: str, precision: str = "fp32", trimap: str = "one-hot", licence: str = ""
) -> str:
    """Write a network to a file; returns what was checked, in words.

    Args:
        network: in eval mode, on the CPU.
        path: of the suffix of its format. It appears whole or not at all.
        kind: a key of `FORMATS`.
        precision: `fp32` or `fp16`.
        trimap: a key of `TRIMAPS`.
        licence: of the weights, for the file's metadata.

    Raises:
        UserError: another value, a package that is missing, or a file whose alpha is not the network's.
    """
    for value, allowed, what in ((kind, FORMATS, "--format"), (precision, TOLERANCES, "--precision"),
                                 (trimap, TRIMAPS, "--trimap")):  # fmt: skip
        if value not in allowed:
            raise UserError(f"{what}: expected one of {', '.join(allowed)}, got {value}")
    form = FORMATS[kind]
    if path.suffix != form.suffix:
        raise UserError(f"{path}: expected the suffix {form.suffix}, got {path.suffix or 'none'}")
    for package, extra in form.packages.items():
        if find_spec(package) is None:
            raise UserError(
                f"--format {kind}: the package {package} is not installed; pip install 'cheapmatting[{extra}]'"
            )
    whole = WholeNetwork(network, trimap, half=precision == "fp16").eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporters about themselves: what matters is checked
            made = Path(folder) / path.name
            with torch.no_grad():
                form.write(whole, described(network, precision, trimap, licence), made)
                checked = _checked(network, form.load(made), precision, trimap)
            for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):  # the main one last
                os.replace(file, path.with_name(file.name))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    return checked


def described(network: CheapMatting, precision: str, trimap: str, licence: str) -> dict[str, str]:
    """Texts for a file's metadata."""
    genotype = network.genotype.to_json()
    planes = {
        "one-hot": "float32 [N, 3, H, W]: background, unknown, foreground, each 0 or 1",
        "plane": "float32 [N, 1, H, W]: 0 background, 128 unknown, 255 foreground",
    }
    return {
        "name": network.genotype.name,
        "genotype": genotype,
        "genotype_sha256": sha256_of_arrays(np.frombuffer(genotype.encode(), np.uint8)),
        "image": "float32 [N, 3, H, W]: RGB in 0..1, any height and width"
        + (f" up to {LARGEST}" if network.config.hints else ""),
        "trimap": planes[trimap],
        "alpha": "float32 [N, 1, H, W] in 0..1, exactly 0 and 1 where the trimap is known",
        "precision": precision,
        "licence": licence or "not stated",
        "made_by": f"cheapmatting {__version__}",
    }


def _checked(network: CheapMatting, run: Run, precision: str, trimap: str) -> str:
    """Compare a file with the network in PyTorch, float32.

    Raises:
        UserError: it is off, or does not run.
    """
    largest, mean = TOLERANCES[precision]
    worst = 0.0
    for count, height, width in SIZES:
        image, one_hot = _pictures(count, height, width)
        expected = network(torch.cat([image, one_hot], dim=1)) * one_hot[:, 1:2] + one_hot[:, 2:]
        at = f"at {count} x {height} x {width}"
        try:
            alpha = run(image, as_plane(one_hot) if trimap == "plane" else one_hot)
        except Exception as error:  # each runtime has its own
            raise UserError(f"not written: the exported file does not run {at}: {_first_line(error)}") from error
        if alpha.shape != expected.shape:
            raise UserError(f"not written: {at}, expected alpha {list(expected.shape)}, got {list(alpha.shape)}")
        off = (alpha - expected).abs()
        off_mean = float(off.sum() / one_hot[:, 1].sum())
        if not (off.max() <= largest and off_mean <= mean):  # not a number is no equality
            raise UserError(
                f"not written: {at}, expected PyTorch's alpha within {largest:g} ({mean:.1g} on average), "
                f"got {off.max():.2g} ({off_mean:.2g})"
            )
        worst = max(worst, float(off.max()))
    return f"any batch, height and width; on {len(SIZES)} sizes, alpha is PyTorch's within {worst:.1e}"


def _pictures(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Parts of the bundled photograph of that size, [N, 3, H, W], and their trimaps, one-hot; never all known."""
    folder = resources.files("cheapmatting") / "examples"
    image = read_image(Path(str(folder / "astronaut.jpg")))
    trimap = read_trimap(Path(str(folder / "astronaut_trimap.png")))
    images, trimaps = [], []
    for number in range(count):
        top = 20 * number
        part, known = image[top : top + 300, 60:460], trimap[top : top + 300, 60:460]
        resized = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        levels = cv2.resize(known, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        levels[0, 0] = 128
        images.append(torch.from_numpy(resized).permute(2, 0, 1).float() / 255)
        trimaps.append(torch.from_numpy(encode_trimap(levels)))
    return torch.stack(images), torch.stack(trimaps)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
