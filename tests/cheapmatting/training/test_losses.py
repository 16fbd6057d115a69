"""Losses: figures worked out by hand on tiny tensors, and what must hold for all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import samples

from atldas.common.config import config, from_dict
from atldas.common.errors import UserError
from cheapmatting.data.sample import Batch, collate
from cheapmatting.training.losses import LOSSES, Losses, evened, gradient, laplacian, weighted_losses

AT_ZERO = {"charbonnier": 1e-3}  # its smoothing is what is left of it for a perfect alpha


def batch_of(alpha: torch.Tensor, unknown: torch.Tensor, foreground: float = 1.0, background: float = 0.0) -> Batch:
    """A batch [1, 1, H, W] whose layers are constant."""
    colour = torch.ones(1, 3, *alpha.shape[2:])
    image = alpha * foreground * colour + (1 - alpha) * background * colour
    one_hot = torch.cat([torch.zeros_like(unknown), unknown, 1 - unknown], dim=1)
    return Batch(
        torch.cat([image, one_hot], dim=1),
        alpha,
        foreground * colour,
        background * colour,
        unknown,
        torch.ones_like(unknown),
    )


TRUTH = torch.tensor([[0.0, 0.5], [1.0, 0.25]])[None, None]
ANSWER = torch.tensor([[0.3, 0.6], [0.6, 0.75]])[None, None]  # errors 0.3, 0.1, -0.4, 0.5
UNKNOWN = torch.tensor([[0.0, 1.0], [1.0, 1.0]])[None, None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1_unknown", (0.1 + 0.4 + 0.5) / 3),
        ("l1_known", 0.3),
        ("charbonnier", sum(math.sqrt(e * e + 1e-6) for e in (0.1, 0.4, 0.5)) / 3),
        ("composition", 0.6 * (0.1 + 0.4 + 0.5) / 3),  # |F - B| = 0.8 - 0.2
        # Errors on the unknown pixels: 0 0.1 / -0.4 0.5; along x 0.1 and 0.9, along y 0.4 and 0.4.
        ("gradient", (0.1 + 0.9 + 0.4 + 0.4) / 3),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert LOSSES[name](ANSWER, batch_of(TRUTH, UNKNOWN, 0.8, 0.2)).item() == pytest.approx(expected, rel=1e-5)


def test_laplacian_by_hand() -> None:
    # Two pixels a side, all unknown, error 1 in one corner. Blurred with edges repeated, the corner keeps
    # (1 + 4 + 6) / 16 = 11/16 along each axis; the next level is that one pixel, enlarged to 2 x 2 of (11/16)^2. One
    # level then is what the error is above that: 1 - c, and three times c.
    error = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[None, None]
    batch = batch_of(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    c = (11 / 16) ** 2
    assert laplacian(error, batch).item() == pytest.approx(((1 - c) + 3 * c) / 4, rel=1e-6)


def laplacian_by_numpy(error: np.ndarray, levels: int) -> float:
    """Sum over levels of 2^s times the mean absolute detail of level s, its pixels standing for 4^s each."""
    total = 0.0
    for level in range(levels):
        if min(error.shape) < 2:
            break
        blurred = error
        for axis in (0, 1):
            padded = np.pad(blurred, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            kernel = np.array([1, 4, 6, 4, 1]) / 16
            blurred = np.apply_along_axis(np.convolve, axis, padded, kernel, mode="valid")
        smaller = blurred[::2, ::2]
        larger = smaller
        for axis in (0, 1):
            size = error.shape[axis]
            at = np.arange(size)

            def along(line: np.ndarray, at: np.ndarray = at, size: int = size) -> np.ndarray:
                return np.interp(at, np.arange(0, size, 2), line)

            larger = np.apply_along_axis(along, axis, larger)
        total += 2**level * np.abs(error - larger).sum() * 4**level
        error = smaller
    return total


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 50), (2, 3), (33, 2), (96, 31)])
def test_laplacian_is_the_pyramid_by_numpy(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    error, unknown = rng.normal(size=(height, width)), rng.random((height, width)) < 0.7
    batch = batch_of(torch.zeros(1, 1, height, width), torch.from_numpy(unknown).float()[None, None])
    value = laplacian(torch.from_numpy(error).float()[None, None], batch, levels=5)
    assert value.item() == pytest.approx(laplacian_by_numpy(error * unknown, 5) / unknown.sum(), rel=1e-4)


@pytest.mark.parametrize("value", [0.3, -1.0])
def test_a_constant_error_is_none_to_laplacian_and_gradient(value: float) -> None:
    batch = batch_of(torch.zeros(1, 1, 37, 50), torch.ones(1, 1, 37, 50))
    alpha = torch.full((1, 1, 37, 50), value)
    assert laplacian(alpha, batch).item() == pytest.approx(0, abs=1e-3)
    assert gradient(alpha, batch).item() == 0


def test_a_linear_error_has_no_detail_but_at_the_border() -> None:
    # Only if blurred pixels are put back where they were taken from: half a pixel off, every slope would be detail.
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
    one_level = laplacian(ramp, batch_of(torch.zeros_like(ramp), torch.ones_like(ramp)), levels=1)
    per_pixel = 1 / 127
    assert one_level.item() < 0.03 * per_pixel


def test_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = (0.01 * torch.arange(50.0)).expand(1, 1, 20, 50)
    value = gradient(ramp, batch_of(torch.zeros_like(ramp), torch.ones_like(ramp)))
    assert value.item() == pytest.approx(0.01 * 49 / 50, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_alpha_costs_nothing(name: str) -> None:
    batch = collate(samples(2))
    assert LOSSES[name](batch.alpha, batch).item() == pytest.approx(AT_ZERO.get(name, 0.0), abs=1e-6)
    assert LOSSES[name]((batch.alpha + 0.1).clamp(0, 1), batch).item() > 0.001


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", ["perfect", "far out", "nothing unknown", "all unknown", "tiny"])
def test_gradients_are_finite(name: str, kind: str) -> None:
    size = (2, 3) if kind == "tiny" else (40, 33)
    truth = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    unknown = torch.zeros_like(truth) if kind == "nothing unknown" else torch.ones_like(truth)
    batch = Batch(
        torch.zeros(2, 6, *size),
        truth,
        torch.zeros(2, 3, *size),
        torch.ones(2, 3, *size),
        unknown,
        torch.ones_like(unknown),
    )
    alpha = (truth * 50 - 20 if kind == "far out" else truth.clone()).requires_grad_()
    loss = LOSSES[name](alpha, batch)
    loss.backward()
    assert loss.isfinite() and alpha.grad is not None and alpha.grad.isfinite().all()
    if kind == "nothing unknown" and name != "l1_known":
        assert loss == 0 and not alpha.grad.any()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "l1_known"])
def test_known_pixels_do_not_count(name: str) -> None:
    batch = collate(samples(2))
    alpha = torch.rand(batch.alpha.shape, generator=torch.Generator().manual_seed(0))
    elsewhere = torch.where(batch.unknown == 1, alpha, 1 - alpha)
    assert LOSSES[name](alpha, batch).item() == pytest.approx(LOSSES[name](elsewhere, batch).item(), rel=1e-6)
    alpha.requires_grad_()
    LOSSES[name](alpha, batch).backward()
    assert alpha.grad is not None and not (alpha.grad * (1 - batch.unknown)).any()


def test_l1_known_counts_known_pixels_alone() -> None:
    batch = collate(samples(2))
    alpha = torch.rand(batch.alpha.shape)
    other = torch.where(batch.unknown == 1, 1 - alpha, alpha)
    assert torch.equal(LOSSES["l1_known"](alpha, batch), LOSSES["l1_known"](other, batch))


@pytest.mark.parametrize("name", LOSSES)
def test_the_size_of_the_unknown_region_does_not_matter(name: str) -> None:
    # Twice the same picture in a batch: sums double, means do not.
    one = collate(samples(1))
    two = Batch(*(torch.cat([tensor, tensor]) for tensor in one))
    alpha = torch.rand(one.alpha.shape)
    once, twice = LOSSES[name](alpha, one), LOSSES[name](torch.cat([alpha, alpha]), two)
    assert once.item() == pytest.approx(twice.item(), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), factor=st.floats(0.1, 3))
def test_the_error_scales_the_loss(height: int, width: int, factor: float) -> None:
    error = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(height)) - 0.5
    batch = batch_of(torch.zeros_like(error), torch.ones_like(error))
    for name in ("l1_unknown", "composition", "laplacian", "gradient"):
        one, scaled = LOSSES[name](error, batch).item(), LOSSES[name](factor * error, batch).item()
        assert scaled == pytest.approx(factor * one, rel=1e-4, abs=1e-6)


def test_weighted_sum_and_each_of_them() -> None:
    batch = batch_of(TRUTH, UNKNOWN, 0.8, 0.2)
    total, each = weighted_losses(ANSWER.bfloat16(), batch, {"l1_unknown": 2.0, "l1_known": 0.0, "gradient": 0.5})
    assert list(each) == ["l1_unknown", "l1_known", "gradient"]
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(2 * each["l1_unknown"].item() + 0.5 * each["gradient"].item())
    assert each["l1_unknown"].item() == pytest.approx(1 / 3, rel=0.01)


def narrow_and_wide() -> tuple[torch.Tensor, Batch]:
    """One unknown pixel with an error of 0.8 in one pair, four of 0.2 in the other; the known ones are 0.1 off."""
    unknown = torch.zeros(2, 1, 2, 4)
    unknown[0, 0, 0, 0] = unknown[1, 0, 0, :] = 1
    error = torch.full_like(unknown, 0.1)
    error[0, 0, 0, 0], error[1, 0, 0, :] = 0.8, 0.2
    pairs = [batch_of(torch.zeros(1, 1, 2, 4), each[None]) for each in unknown]
    return error, Batch(*(torch.cat(tensors) for tensors in zip(*pairs, strict=True)))


@pytest.mark.parametrize(
    ("evenness", "expected"),
    [
        (0.0, (0.8 + 4 * 0.2) / 5),
        (1.0, (0.8 + 0.2) / 2),
        # Weights sqrt(2.5 / 1) and sqrt(2.5 / 4), the one twice the other: (2 x 0.8 + 4 x 0.2) / (2 + 4).
        (0.5, 0.4),
    ],
)
def test_evenness_by_hand(evenness: float, expected: float) -> None:
    alpha, batch = narrow_and_wide()
    total, each = weighted_losses(alpha, batch, {"l1_unknown": 1.0, "composition": 0.0, "l1_known": 0.0}, evenness)
    assert total.item() == each["composition"].item() == pytest.approx(expected, rel=1e-5)
    assert each["l1_known"].item() == pytest.approx(0.1, rel=1e-5)


def test_evenness_leaves_pairs_with_as_many_unknown_pixels_and_those_with_none() -> None:
    _, batch = narrow_and_wide()
    alike = batch._replace(unknown=batch.unknown[1:].repeat(2, 1, 1, 1))
    assert torch.equal(evened(alike, 1.0).counted, alike.counted)
    nothing = batch._replace(unknown=torch.zeros_like(batch.unknown))
    assert not evened(nothing, 0.5).counted.any()
    # At 1 each pair's weights sum to the mean number of unknown pixels.
    assert evened(batch, 1.0).counted.sum(dim=(1, 2, 3)).tolist() == pytest.approx([2.5, 2.5])
    assert torch.equal(evened(batch, 1.0).unknown, batch.unknown)  # the mask stays 0 or 1


@config
class Recipe:
    losses: Losses


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "recipe: losses: expected one or more of l1_unknown, "),
        ({"l1": 1.0}, "recipe: losses: expected one or more of l1_unknown, l1_known"),
        ({"l1_known": 0.0}, "at least one with a weight over 0"),
        ({"l1_known": -1.0}, "recipe: losses.l1_known: expected a weight of 0 or more, or a mapping of `weight`"),
        ({"l1_known": "1"}, "recipe: losses.l1_known: expected a weight"),
        ({"l1_known": float("inf")}, "recipe: losses.l1_known: expected a weight"),
        ({"l1_known": True}, "recipe: losses.l1_known: expected a weight of 0 or more"),
        (
            {"laplacian": {"levels": 3}},
            "recipe: losses.laplacian: expected a weight of 0",
        ),
        ({"laplacian": {"weight": 1, "levels": 0}}, "recipe: losses.laplacian: expected a weight of 0"),
        ({"laplacian": {"weight": 1, "levels": 2.5}}, "for laplacian: a whole number of levels, not 2.5"),
        ({"laplacian": {"weight": 1, "level": 2}}, "for laplacian: weight, levels, not level"),
        ({"l1_known": {"weight": 1, "alpha": 2}}, "for l1_known: weight, not alpha"),
        ({"laplacian": {"weight": 0, "levels": 2}}, "at least one with a weight over 0"),
    ],
)
def test_wrong_weights(losses: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        from_dict(Recipe, {"losses": losses}, "recipe")
    assert message in str(error.value)
    assert from_dict(Recipe, {"losses": {"l1_known": 0, "gradient": 1}}, "r").losses == {
        "l1_known": 0.0,
        "gradient": 1.0,
    }


def test_parameters_of_a_loss_from_the_configuration() -> None:
    given = {
        "l1_unknown": {"weight": 2},
        "laplacian": {"weight": 1, "levels": 2},
        "charbonnier": {"weight": 3, "epsilon": 1},
    }
    losses = from_dict(Recipe, {"losses": given}, "r").losses
    # What has no parameters is written in the short form, so that both forms are one and the same run.
    assert losses == {
        "l1_unknown": 2.0,
        "laplacian": {"weight": 1.0, "levels": 2},
        "charbonnier": {"weight": 3.0, "epsilon": 1},
    }
    alpha, batch = torch.rand(2, 1, 64, 64), collate(samples(2))
    total, each = weighted_losses(alpha, batch, losses)
    assert each["laplacian"] == laplacian(alpha, batch, levels=2) != laplacian(alpha, batch)
    # sqrt(e^2 + 1), by hand for the errors of ANSWER.
    unknown = batch_of(TRUTH, UNKNOWN)
    value = weighted_losses(ANSWER, unknown, {"charbonnier": {"weight": 3.0, "epsilon": 1.0}})[0].item()
    assert value == pytest.approx(3 * sum(math.sqrt(e * e + 1) for e in (0.1, 0.4, 0.5)) / 3, rel=1e-5)
    expected = 2 * each["l1_unknown"] + each["laplacian"] + 3 * each["charbonnier"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
