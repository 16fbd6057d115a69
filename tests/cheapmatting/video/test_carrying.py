"""Trimaps carried along with made motion, and steadied alphas, against the truth."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.drawing.clips import made_clip
from cheapmatting.evaluation.flicker import dtssd
from cheapmatting.inference.matte import Matter
from cheapmatting.trimap import known_pixels_kept, make_trimap
from cheapmatting.video.carrying import Frame, matte_frames
from cheapmatting.video.flow import motion

SIZE = 96


def textured(size: int = SIZE) -> Bytes:
    noise = np.random.default_rng(0).random((size // 6, size // 6, 3), np.float32)
    return np.rint(cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def wrong(trimap: Bytes, truth: Floats) -> float:
    """The share of pixels that are known, and not what the trimap says."""
    return float((((trimap == 0) & (truth > 0.1)) | ((trimap == 255) & (truth < 0.9))).mean())


def of_truth(truths: list[Floats]) -> Iterator[Floats]:
    yield from truths


def test_motion_leads_back_to_where_a_pixel_was() -> None:
    before = cv2.cvtColor(textured(), cv2.COLOR_RGB2GRAY)
    now = np.roll(before, (3, -2), (0, 1))
    moved = motion(before, now)
    inner = (slice(16, -16), slice(16, -16))
    np.testing.assert_allclose(np.median(moved.back[inner], axis=(0, 1)), (2, -3), atol=0.1)
    assert moved.trusted[inner].mean() > 0.95
    plane = np.random.default_rng(1).random(before.shape, np.float32)
    plane = cv2.GaussianBlur(plane, (0, 0), 3)
    np.testing.assert_allclose(moved.warped(plane)[inner], np.roll(plane, (3, -2), (0, 1))[inner], atol=0.01)


def test_what_was_covered_is_not_trusted() -> None:
    background = cv2.cvtColor(textured(), cv2.COLOR_RGB2GRAY)
    before, now = background.copy(), background.copy()
    before[30:60, 30:60] = 255 - background[:30, :30]
    now[30:60, 42:72] = 255 - background[:30, :30]  # 12 to the right
    moved = motion(before, now)
    assert moved.trusted[34:56, 32:40].mean() < 0.5 and moved.trusted[70:90, 10:80].mean() > 0.95


def test_tiny_frames_do_not_move() -> None:
    moved = motion(np.zeros((5, 400), np.uint8), np.ones((5, 400), np.uint8))
    assert not moved.back.any() and moved.trusted.all() and moved.back.shape == (5, 400, 2)


@pytest.mark.parametrize(("kind", "background"), [("hair", "clouds"), ("fur", "gradient")])
def test_carried_trimaps_follow_the_foreground(kind: str, background: str) -> None:
    """With the true alphas for a network's: what is tested is the carrying."""
    images, truths = zip(*made_clip(kind, background, SIZE, 16, seed=3), strict=True)
    key = make_trimap(truths[0], 4, 4)
    answers = of_truth(list(truths))
    frames = list(
        matte_frames(lambda image, trimap: known_pixels_kept(next(answers), trimap), images, {0: lambda image: key})
    )
    carried = [wrong(frame.trimap, truth) for frame, truth in zip(frames, truths, strict=True)]
    assert max(carried) < 0.002 and wrong(key, truths[-1]) > 0.01  # left in its place, it would be wrong
    shares = [(frame.trimap == 128).mean() for frame in frames]
    assert max(shares) < 1.6 * shares[0]  # doubt does not spread


def test_alphas_flicker_less_than_those_of_single_frames() -> None:
    images, truths = zip(*made_clip("hair", "gradient", SIZE, 6, seed=1), strict=True)
    matter = Matter(device="cpu", engine="torch")
    key = make_trimap(truths[0], 4, 4)
    frames = list(matte_frames(matter.matte, images, {0: lambda image: key}))
    single = [matter.matte(frame.image, frame.trimap) for frame in frames]
    assert dtssd([frame.alpha for frame in frames], truths) < 0.97 * dtssd(single, truths)
    errors = [
        np.mean(np.square(np.stack(alphas) - np.stack(truths)))
        for alphas in ([frame.alpha for frame in frames], single)
    ]
    assert errors[0] <= errors[1]


def moving_disc(frames: int) -> Iterator[Bytes]:
    for number in range(frames):
        image = textured()
        cv2.circle(image, (40 + 2 * number, 48), 16, (250, 20, 20), cv2.FILLED)
        yield image


def disc_trimap(number: int) -> Bytes:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(alpha, (40 + 2 * number, 48), 16, 255, cv2.FILLED)
    return make_trimap(alpha / np.float32(255), 3, 3)


def half_alpha(image: Bytes, trimap: Bytes) -> Floats:
    return known_pixels_kept(np.full(trimap.shape, 0.5, np.float32), trimap)


def test_a_key_trimap_replaces_what_was_carried() -> None:
    frames = list(matte_frames(half_alpha, moving_disc(4), {i: (lambda image, i=i: disc_trimap(i)) for i in (0, 2)}))
    for number in (0, 2):
        np.testing.assert_array_equal(frames[number].trimap, disc_trimap(number))
    assert (frames[1].trimap != disc_trimap(0)).any()


def test_steady_0_is_every_frame_alone_and_known_pixels_are_kept() -> None:
    for frame in matte_frames(half_alpha, moving_disc(4), {0: lambda image: disc_trimap(0)}, steady=0):
        np.testing.assert_array_equal(frame.alpha, half_alpha(frame.image, frame.trimap))
    for frame in matte_frames(half_alpha, moving_disc(4), {0: lambda image: disc_trimap(0)}, steady=0.9):
        np.testing.assert_array_equal(frame.alpha, known_pixels_kept(frame.alpha, frame.trimap))


def test_memory_does_not_grow_with_the_frames() -> None:
    alive: list[weakref.ref[Bytes]] = []

    def frames() -> Iterator[Bytes]:
        for image in moving_disc(12):
            alive.append(weakref.ref(image))
            yield image

    most = 0
    for _frame in matte_frames(half_alpha, frames(), {0: lambda image: disc_trimap(0)}):
        del _frame
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 12 and most <= 2


def test_faults_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def matted(frames: Iterator[Bytes], keys: tuple[int, ...], steady: float = 0.5) -> list[Frame]:
        functions = {key: (lambda image: disc_trimap(0)) for key in keys}
        return list(matte_frames(half_alpha, frames, functions, steady=steady))

    with pytest.raises(UserError, match="expected one for the first frame"):
        matted(moving_disc(2), (1,))
    with pytest.raises(UserError, match="--steady: expected 0 or more and less than 1, got 1"):
        matted(moving_disc(2), (0,), steady=1)
    with pytest.raises(UserError, match="frame 1: expected the first frame's size"):
        matted(iter([textured(), textured(48)]), (0,))
    with caplog.at_level(logging.WARNING):
        matted(moving_disc(2), (0, 9))
    assert "frames [9] were not used: there are 2 frames" in caplog.text
