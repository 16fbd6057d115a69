"""benchmarks/approximations.py: unknown pixels in one place, and what a way changes beside the exact one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scripts import ROOT, load_script
from small import photograph, small_network

from cheapmatting.images import write_image
from cheapmatting.model import weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def approximations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return load_script("benchmarks/approximations.py")


def test_what_stays_unknown_is_where_most_is_and_the_rest_is_known_by_the_truth(approximations: ModuleType) -> None:
    trimap = np.zeros((100, 100), np.uint8)
    trimap[10:20, 10:20] = trimap[80, :] = 128
    truth = np.full((100, 100), 0.4, np.float32)
    truth[80, 50:] = 0.5
    made = approximations.in_one_place(trimap, truth, 0.01)
    assert (made[10:20, 10:20] == 128).all() and (made == 128).sum() == 100
    assert (made[80, :50] == 0).all() and (made[80, 50:] == 255).all()
    np.testing.assert_array_equal(approximations.in_one_place(trimap, truth, 0.5), trimap)  # less than that is unknown


def test_the_table_has_rows_of_each_photograph_and_their_mean(approximations: ModuleType, tmp_path: Path) -> None:
    network = small_network().eval()
    network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
    weights.save(network, tmp_path / "model.safetensors")
    image, _ = photograph(64, 800)
    trimap = np.zeros((64, 800), np.uint8)
    trimap[:, 10:20] = 128
    for folder, picture in {"image": image, "trimap_narrow": trimap, "alpha": image[..., 0]}.items():
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            write_image(tmp_path / folder / name, picture)
    approximations.main([
        "--truth", str(tmp_path), "--ways", "near", "--weights", str(tmp_path / "model.safetensors"),
        "--out", str(tmp_path / "table.md"),
    ])  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "table.md").read_text().splitlines()[2:]]
    assert [row[:4] for row in rows] == [["near", name, "1%", "36%"] for name in ("a", "b", "mean of all")]
    mean, largest, exact, near = map(float, rows[0][4:])
    assert 0 < mean <= largest and 0.1 < exact < 0.64 and 0.1 < near < 0.64  # of 640 unknown pixels
