"""Padding against OpenCV's BORDER_REFLECT, and by hand where an image is smaller than its padding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapmatting.model.padding import crop, pad, padded_size


@settings(max_examples=60, deadline=None)
@given(height=st.integers(48, 300), width=st.integers(48, 300), seed=st.integers(0, 99))
def test_padding_is_opencvs(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width, 3), np.float32)
    padded, box = pad(torch.from_numpy(image).permute(2, 0, 1)[None])
    rows, columns = padded.shape[2] - height, padded.shape[3] - width
    expected = cv2.copyMakeBorder(
        image, rows // 2, rows - rows // 2, columns // 2, columns - columns // 2, cv2.BORDER_REFLECT
    )
    np.testing.assert_array_equal(padded[0].permute(1, 2, 0).numpy(), expected)
    assert box == (rows // 2, columns // 2, height, width)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 260), width=st.integers(1, 260), channels=st.integers(1, 6))
def test_crop_undoes_pad(height: int, width: int, channels: int) -> None:
    x = torch.arange(float(2 * channels * height * width)).reshape(2, channels, height, width)
    padded, box = pad(x)
    assert torch.equal(crop(padded, box), x)
    for before, after in ((height, padded.shape[2]), (width, padded.shape[3])):
        assert after == padded_size(before) >= 96 and after % 32 == 0 and (after - before < 32 or after == 96)
    assert padded.unique().numel() == x.numel()  # nothing but the image's own pixels


@pytest.mark.parametrize(
    ("size", "padded"),
    [(1, 96), (95, 96), (96, 96), (97, 128), (128, 128), (129, 160), (1080, 1088), (1920, 1920)],
)
def test_sizes(size: int, padded: int) -> None:
    assert padded_size(size) == padded


def test_an_odd_padding_has_its_larger_half_behind() -> None:
    x = torch.arange(99.0).expand(1, 1, 101, 99)  # 27 rows and 29 columns are missing
    padded, box = pad(x)
    assert box == (13, 14, 101, 99)
    assert padded[0, 0, 0, :15].tolist() == [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert padded[0, 0, 0, -16:].tolist() == [98, *range(98, 83, -1)]


def test_a_single_pixel_fills_everything() -> None:
    padded, box = pad(torch.full((1, 2, 1, 1), 0.25))
    assert padded.shape == (1, 2, 96, 96) and (padded == 0.25).all()
    assert box == (47, 47, 1, 1)


def test_a_few_pixels_are_mirrored_again_and_again() -> None:
    padded, box = pad(torch.tensor([[0.0, 1, 2], [10, 11, 12]])[None, None])
    assert box == (47, 46, 2, 3)
    # Mirrored with the edge repeated: 0 1 2 2 1 0 and over again, the image's 0 at position 46; 0 10 10 0 from row 47.
    columns = [0, 1, 2, 2, 1, 0]
    rows = [0, 10, 10, 0]
    for y in range(96):
        for x in range(96):
            assert padded[0, 0, y, x] == rows[(y - 47) % 4] + columns[(x - 46) % 6]


def test_what_fits_is_not_copied() -> None:
    x = torch.rand(1, 3, 96, 128)
    padded, box = pad(x)
    assert padded is x and box == (0, 0, 96, 128)


def test_gradients_come_back_through_mirrored_pixels() -> None:
    x = torch.rand(1, 1, 90, 96, requires_grad=True)
    pad(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad[0, 0, :, 0].tolist() == [2.0] * 3 + [1.0] * 84 + [2.0] * 3
