"""Many photographs: names, partners, failures, going on, interruption."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path, PurePath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atldas.common.errors import UserError
from cheapmatting.folders import Job, find_jobs, is_many, left_to_do, output_names, run_jobs
from cheapmatting.images import write_image

NAMES = st.builds(
    lambda folder, stem, suffix: PurePath(folder, stem + suffix),
    st.sampled_from(["", "a", "A"]),
    st.sampled_from(["two", "Two", "two.png", "two.jpg", "three"]),
    st.sampled_from([".png", ".jpg", ".JPG"]),
)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with two.jpg, two.png and sub/one.png, as the current folder's."""
    monkeypatch.chdir(tmp_path)
    for name in ("two.jpg", "two.png", "sub/one.png"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        write_image(Path("photos", name), np.zeros((4, 4, 3), np.uint8))
    return Path("photos")


def copy(job: Job) -> None:
    """Work that tells outputs apart."""
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_text(str(job.image))


@given(st.lists(NAMES, unique=True, max_size=12))
def test_no_two_photographs_have_one_output(names: list[PurePath]) -> None:
    outputs = output_names(names)
    assert len(set(outputs)) == len(names) and all(name.endswith(".png") for name in outputs)


def test_names_are_short_where_they_can_be() -> None:
    names = [PurePath("one.jpg"), PurePath("two.jpg"), PurePath("two.png"), PurePath("a/one.webp")]
    assert output_names(names) == ["one.png", "two.jpg.png", "two.png.png", "a/one.png"]
    assert output_names([PurePath("Two.jpg"), PurePath("two.png")]) == ["Two.jpg.png", "two.png.png"]


def test_a_folder_and_globs_name_photographs(photos: Path) -> None:
    out = Path("out")
    whole = find_jobs(photos, None, out)
    assert [(str(job.image), str(job.output)) for job in whole] == [
        ("photos/sub/one.png", "out/sub/one.png"),
        ("photos/two.jpg", "out/two.jpg.png"),
        ("photos/two.png", "out/two.png.png"),
    ]
    assert [str(job.output) for job in find_jobs(Path("photos/*.jpg"), None, out)] == ["out/two.png"]
    assert find_jobs(Path("photos/**/*.*"), None, out) == whole
    assert is_many(photos) and is_many(Path("photos/*.jpg")) and not is_many(photos / "two.jpg")
    assert not is_many(Path("photo.jpg"))
    for images in ("photos/*.tif", "empty*/x"):
        with pytest.raises(UserError, match="expected photographs"):
            find_jobs(Path(images), None, out)


def test_a_file_with_brackets_in_its_name_is_a_file(photos: Path) -> None:
    (photos / "two.jpg").rename(photos / "two[1].jpg")
    assert not is_many(photos / "two[1].jpg")


def test_partners_have_the_photographs_name(photos: Path) -> None:
    partners = Path("photos/trimaps")  # within: its files are no photographs
    for name in ("two.png", "two.jpg.png", "other.png"):
        partners.mkdir(exist_ok=True)
        write_image(partners / name, np.zeros((4, 4), np.uint8))
    jobs = find_jobs(photos, partners, Path("photos/out"))
    found = {str(job.image.relative_to(photos)): job.partner and job.partner.name for job in jobs}
    assert found == {"sub/one.png": None, "two.jpg": "two.jpg.png", "two.png": "two.png"}
    write_image(partners / "two.webp", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="expected one file of each name, got several of two"):
        find_jobs(photos, partners, Path("out"))


def test_outputs_do_not_go_among_the_photographs(photos: Path) -> None:
    with pytest.raises(UserError, match="expected another folder than the photographs'"):
        find_jobs(photos, None, Path("./photos/../photos"))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_bad_file_does_not_end_the_work(photos: Path, workers: int) -> None:
    def work(job: Job) -> None:
        if job.image.name == "two.png":
            raise UserError(f"{job.image}: damaged")
        if job.image.name == "one.png":
            raise RuntimeError("of its own\nkind")
        copy(job)

    outcome = run_jobs(find_jobs(photos, None, Path("out")), work, workers=workers)
    assert (outcome.done, outcome.skipped, outcome.interrupted) == (1, 0, False)
    assert outcome.summary().splitlines() == [
        "1 done, 0 skipped, 2 failed",
        "  photos/sub/one.png: RuntimeError: of its own kind",
        "  photos/two.png: damaged",
    ]
    assert [str(path) for path in Path("out").rglob("*.png")] == ["out/two.jpg.png"]


def test_what_is_done_is_left_out_and_nothing_is_replaced_unasked(photos: Path) -> None:
    jobs = find_jobs(photos, None, Path("out"))
    done: list[str] = []

    def work(job: Job) -> None:
        done.append(job.image.name)
        copy(job)

    assert run_jobs(jobs[:1], work).done == 1
    with pytest.raises(UserError, match=r"out/sub/one.png: 1 of 3 outputs are there already; --resume"):
        left_to_do(jobs, resume=False, force=False)
    assert run_jobs(left_to_do(jobs, resume=True, force=False), work, skipped=1).summary() == (
        "2 done, 1 skipped, 0 failed"
    )
    assert done == ["one.png", "two.jpg", "two.png"]
    assert left_to_do(jobs, resume=True, force=True) == []
    os.utime(photos / "two.jpg", (2e9, 2e9))  # newer than its output
    assert left_to_do(jobs, resume=True, force=False) == [jobs[1]]
    assert left_to_do(jobs, resume=False, force=True) == jobs


def test_an_interruption_ends_after_the_photograph_at_hand(photos: Path) -> None:
    jobs = find_jobs(photos, None, Path("out"))

    def work(job: Job) -> None:
        if job.image.name == "two.jpg":
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.2)  # until the main thread has seen it
        copy(job)

    outcome = run_jobs(jobs, work)
    assert outcome.interrupted and outcome.done >= 2 and not outcome.failures
    assert len(list(Path("out").rglob("*.png"))) == outcome.done
    assert run_jobs(left_to_do(jobs, resume=True, force=False), copy).done == 3 - outcome.done


def test_no_more_photographs_are_held_than_there_are_workers(photos: Path) -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def work(job: Job) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.01)
        with lock:
            at_once -= 1

    run_jobs([Job(photos / str(i), None, Path("out", str(i))) for i in range(12)], work, workers=2)
    assert most <= 2
