"""CheapMatting: the matting network around the searched cells (Liu et al., Displays 80:102541, 2023).

             input [N, 6, H, W]: RGB in 0..1, one-hot trimap (background, unknown, foreground)
stem_half     1/2  ------------------------------------------------.
stem_quarter  1/4  -----------------------------------------.      |
stem_eighth   1/8                                           |      |
cells 0..3    1/8  ----------------------------------.      |      |
cells 4..8    1/16 --------------------------.       |      |      |
cells 9..13   1/32 -> pyramid -> decoder_16 <-' decoder_8 <-' decoder_4 <-' decoder_2 <-' -> head -> alpha
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator
from torch import Tensor, nn

from atldas.builder import Builder, FixedBuilder
from atldas.cell_chain import cell_chain
from atldas.common.config import config, from_dict
from atldas.common.errors import UserError
from atldas.genotype import Genotype
from atldas.widths import Channels

from .blocks import BLOCKS, GROUPS, Decoder, FullHead, HalfHead, PyramidPooling, stem_half, stem_quarter
from .hints import HINTS, Hinted
from .padding import crop, pad


def _multiple(step: int, largest: int, why: str) -> AfterValidator:
    def check(number: int) -> int:
        if number < step or number > largest or number % step:
            raise ValueError(f"a multiple of {step} from {step} to {largest} ({why})")
        return number

    return AfterValidator(check)


# The upper bounds are far over what is of use: a slip of the finger must not ask for all memory.
Width = Annotated[int, Ge(1), Le(4096)]
GroupedWidth = Annotated[int, _multiple(GROUPS, 4096, f"GroupNorm has {GROUPS} groups")]
EvenWidth = Annotated[int, _multiple(2, 1024, "a factorized reduce makes two halves")]
Window = Annotated[int, Ge(2), Le(999)]


@config
class NetworkConfig:
    """The network around the cells; the defaults are the published network.

    All numbers of channels are 1..4096 where nothing else is said.

    Attributes:
        width: channels of a node in the first cells (each reduction cell doubles them), and of the stems at scales 1/4
            and 1/8: an even number, 2..1024.
        cells: the number of cells, 3..100.
        reductions: which two of them, counted from 0, are reduction cells, but not the first.
        stem: channels at scale 1/2.
        stem_mid: channels inside the stem's residual blocks, a multiple of 8.
        pooling_windows: kernels of the pyramid's average pools at scale 1/32, in pixels there: 1 to 16 of them, each
            2..999.
        pooling_width: channels of each pool.
        pyramid: channels that the pyramid passes on.
        decoder: channels at scales 1/16, 1/8, 1/4, 1/2.
        decoder_mid: channels inside their residual blocks, multiples of 8.
        head: channels of the two 3x3 convolutions at full resolution.
        hints: whether the stem and the head also see what the known pixels tell of the others (see hints.py).
    """

    width: EvenWidth = 48
    cells: Annotated[int, Ge(3), Le(100)] = 14
    reductions: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (4, 9)
    stem: Width = 24
    stem_mid: GroupedWidth = 32
    pooling_windows: Annotated[tuple[Window, ...], MinLen(1), MaxLen(16)] = (5, 13, 19, 25)
    pooling_width: Width = 128
    pyramid: Width = 256
    decoder: tuple[Width, Width, Width, Width] = (128, 128, 64, 32)
    decoder_mid: tuple[GroupedWidth, GroupedWidth, GroupedWidth, GroupedWidth] = (64, 64, 32, 24)
    head: tuple[Width, Width] = (24, 16)
    hints: bool = False

    def __post_init__(self) -> None:
        first, second = self.reductions
        if not first < second < self.cells:
            raise ValueError(f"two rising cell numbers under cells ({self.cells}), not reductions {self.reductions}")

    @staticmethod
    def of(genotype: Genotype, source: str = "") -> NetworkConfig:
        """The configuration in a genotype's `network:` section; what it leaves out is as in the published network.

        Raises:
            UserError: unknown key, wrong type or impossible value there.
        """
        return from_dict(NetworkConfig, genotype.network_dict(), source or f"genotype {genotype.name}", at="network")


DECODERS = ("decoder_16", "decoder_8", "decoder_4", "decoder_2")


class CheapMatting(nn.Module):
    """Alpha from an image and a trimap.

    A space or genotype may choose `width`, `stem`, `hints`, `pyramid` (pooling, none), `decoder_16.width` to
    `decoder_2.width`, `decoder_16.block` to `decoder_2.block` (see `blocks.BLOCKS`) and `head` (full, half). What it
    does not choose is as `config` says.

    Args:
        genotype: its cells `normal` and `reduce`.
        config: by default the genotype's `network:` section.
        builder: makes the parts that are searched; by default fixed ones. A supernet gives its own.
    """

    def __init__(self, genotype: Genotype, config: NetworkConfig | None = None, builder: Builder | None = None) -> None:
        super().__init__()
        self.genotype = genotype
        self.config = c = config or NetworkConfig.of(genotype)
        build = builder or FixedBuilder(genotype)
        stem, width = build.width("stem", c.stem), build.width("width", c.width)
        inputs = 6 + HINTS * build.flag("hints", c.hints)
        self.hinted = build.choice("hints", {True: Hinted, False: nn.Identity}, c.hints)
        self.stem_half = build.sized(stem_half, inputs, stem)
        self.stem_quarter = build.sized(lambda s, w: stem_quarter(s, w, c.stem_mid), stem, width)
        self.stem_eighth = build.sized(
            lambda w: nn.Sequential(nn.Conv2d(w, w, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(w)), width
        )
        # stem_eighth halved what stem_quarter gave.
        chain = cell_chain(build, width, width, width, c.cells, c.reductions, before_is_larger=True)
        self.cells = nn.ModuleList(chain)
        # The cells that the decoder reads: the last one before each reduction, and the last of all.
        self.taps = (c.reductions[0] - 1, c.reductions[1] - 1, c.cells - 1)
        eighth, sixteenth, deepest = (chain[tap].out_channels for tap in self.taps)
        self.pyramid = build.choice("pyramid", {
            "pooling": lambda: build.sized(
                lambda d: PyramidPooling(d, c.pooling_windows, c.pooling_width, c.pyramid), deepest
            ),
            "none": lambda: build.sized(lambda d: nn.Conv2d(d, c.pyramid, 1), deepest),
        }, "pooling")  # fmt: skip
        incoming: Channels = c.pyramid + deepest
        decoders = []
        levels = zip(DECODERS, (sixteenth, eighth, width, stem), c.decoder, c.decoder_mid, strict=True)
        for name, skip, default, mid in levels:
            out = build.width(f"{name}.width", default)
            decoders.append(_decoder(build, name, incoming + skip, out, mid))
            incoming = out
        self.decoder_16, self.decoder_8, self.decoder_4, self.decoder_2 = decoders
        self.head = build.choice("head", {
            "full": lambda: build.sized(lambda y, x: FullHead(y, x, c.head), incoming, inputs),
            "half": lambda: build.sized(lambda y, x: HalfHead(y, x, c.head), incoming, inputs),
        }, "full")  # fmt: skip

    def forward(self, image_and_trimap: Tensor) -> Tensor:
        """[N, 6, H, W] of any size -> alpha [N, 1, H, W] in 0..1."""
        x, box = pad(image_and_trimap)  # H and W are multiples of 32 from here on
        x = self.hinted(x)  # [N, 6 or 8, H, W]
        answer = crop(self.head(self.features(x), x), box)
        alpha: Tensor = _ClampWithGradient.apply(answer) if self.training else answer.clamp(0.0, 1.0)
        return alpha

    def features(self, x: Tensor) -> Tensor:
        """All before the head: padded and hinted [N, 6 or 8, H, W] -> [N, C, H / 2, W / 2].

        GroupNorm and the pyramid make every feature depend on the whole image; the head is local.
        """
        sides = [self.stem_half(x)]
        sides.append(self.stem_quarter(sides[-1]))
        before, state = sides[-1], self.stem_eighth(sides[-1])
        for index, cell in enumerate(self.cells):
            before, state = state, cell(before, state)
            if index in self.taps[:2]:
                sides.append(state)
        del before
        y = torch.cat([self.pyramid(state), state], dim=1)
        for decoder in (self.decoder_16, self.decoder_8, self.decoder_4, self.decoder_2):
            y = decoder(y, sides.pop())  # what is read is let go: the maps grow from here on
        return y


class _ClampWithGradient(torch.autograd.Function):
    """clamp(x, 0, 1) whose gradient is that of the identity: clamp's own is 0 outside the range and stops the learning.

    A prediction of 1.3 for a truth of 0.4 is still trained downwards. For a truth of 1 the loss has no gradient there.
    """

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clamp(0.0, 1.0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


def _decoder(build: Builder, name: str, incoming: Channels, out: Channels, mid: int) -> nn.Module:
    """A decoder whose blocks are of a chosen kind."""

    def block() -> nn.Module:
        kinds: dict[str | int | bool, Callable[[], nn.Module]] = {
            kind: partial(build.sized, partial(make, mid=mid), out) for kind, make in BLOCKS.items()
        }
        return build.choice(f"{name}.block", kinds, "residual")

    return Decoder(build.sized(lambda i, o: nn.Conv2d(i, o, 1), incoming, out), block(), block())


def require_cells(genotype: Genotype, source: str) -> None:
    """Check that a genotype has the cells that the network is made of.

    Raises:
        UserError: it lacks one of them, or one has not two inputs.
    """
    for kind in ("normal", "reduce"):
        if kind not in genotype.cells:
            raise UserError(f"{source}: cells: expected normal and reduce, got {', '.join(genotype.cells)}")
        if genotype.cells[kind].inputs != 2:
            raise UserError(f"{source}: cells.{kind}.inputs: expected 2, got {genotype.cells[kind].inputs}")
