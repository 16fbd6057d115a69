"""benchmarks/serve_load.py: a small load against a small network, and that it finds what it looks for."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scripts import load_script
from small import small_network

httpx = pytest.importorskip("httpx", reason="the extra web is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from serving import serving, until  # noqa: E402

from cheapmatting.inference.matte import Matter  # noqa: E402
from cheapmatting.server.app import make_app  # noqa: E402
from cheapmatting.server.limits import Limits  # noqa: E402


@pytest.fixture(scope="module")
def serve_load() -> ModuleType:
    return load_script("benchmarks/serve_load.py")


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(small_network().eval(), "cpu", engine="torch")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # python-multipart's temporary file
def test_every_answer_of_eight_clients_is_right_and_no_place_is_lost(serve_load: ModuleType, matter: Matter) -> None:
    pairs = serve_load.make_pairs(matter, [(40, 30), (40, 30), (61, 50), (33, 71), (80, 60)])
    with serving(make_app(matter, Limits(queue=4))) as address:
        record = serve_load.load(address, pairs, clients=8, seconds=60, most=12)
        assert record.faults == []
        until(lambda: "places_taken 0.0" in httpx.get(f"{address}/metrics").text)
    kinds = {kind: len(times) for kind, times in record.seconds.items()}
    assert sum(kinds.values()) == 96 and min(kinds.values()) > 0
    assert set(kinds) == {"up to 0.05 megapixels", *serve_load.ACTIONS} - {"whole"}
    assert "| up to 0.05 megapixels |" in serve_load.report(record, 1.0, [100.0] * 10, "about")


def test_a_mixed_up_answer_is_a_fault(serve_load: ModuleType, matter: Matter) -> None:
    first, second, third = serve_load.make_pairs(matter, [(40, 30), (40, 30), (61, 50)])
    mixed = [first._replace(alpha=second.alpha), third._replace(alpha=first.alpha)]
    with serving(make_app(matter)) as address:
        record = serve_load.load(address, mixed, clients=1, seconds=60, most=40)
    whole = len(record.seconds["up to 0.05 megapixels"])
    assert len(record.faults) == whole > 10
    assert all("is off by" in fault or "expected an alpha (30, 40), got (50, 61)" in fault for fault in record.faults)


def test_the_plateau_leaves_out_the_first_parts(serve_load: ModuleType) -> None:
    settled = [*np.linspace(100, 200, 30), *[200.0, 198.0] * 35]
    assert serve_load.peaks(settled) == pytest.approx([131.03, 165.52, 200, *[200] * 7], abs=0.01)
    assert serve_load.growth(serve_load.peaks(settled)) == (200, 0)
    leaking = serve_load.peaks(list(np.linspace(100, 200, 100)))
    assert serve_load.growth(leaking)[1] > serve_load.GROWTH
