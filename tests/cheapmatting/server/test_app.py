"""The server over real HTTP: its answers are the command line's, and everything else is refused clearly."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import photograph, small_network

httpx = pytest.importorskip("httpx", reason="the extra web is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from serving import HeldMatter, png, serving, until  # noqa: E402

from cheapmatting.images import read_alpha, read_image, write_image  # noqa: E402
from cheapmatting.inference.files import Wanted, matte_files  # noqa: E402
from cheapmatting.inference.matte import Matter  # noqa: E402
from cheapmatting.masks.grabcut import Rectangle, grab_cut  # noqa: E402
from cheapmatting.masks.trimap_from_mask import trimap_from_mask  # noqa: E402
from cheapmatting.masks.width import Width  # noqa: E402
from cheapmatting.server.answers import MATTE_FILES, MATTE_TEXTS  # noqa: E402
from cheapmatting.server.app import make_app  # noqa: E402
from cheapmatting.server.limits import Limits  # noqa: E402
from cheapmatting.server.work_queue import Work, WorkQueue  # noqa: E402

LIMITS = Limits(max_bytes=200_000, max_pixels=10_000, queue=3, timeout=20)


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(small_network().eval(), "cpu", engine="torch")


@pytest.fixture(scope="module")
def address(matter: Matter) -> Iterator[str]:
    with serving(
        make_app(matter, LIMITS, hosts=("localhost", "127.0.0.1"), origins=("https://friend.example",))
    ) as url:
        yield url


def form(height: int = 50, width: int = 61, seed: int = 0) -> dict[str, bytes]:
    image, trimap = photograph(height, width, seed)
    return {"image": png(image), "trimap": png(trimap)}


def a_mask() -> np.ndarray:
    mask = np.zeros((50, 61), np.uint8)
    mask[15:35, 15:40] = 255
    return mask


def test_the_answers_are_the_files_of_the_command_line(address: str, matter: Matter, tmp_path: Path) -> None:
    for name, data in form().items():
        (tmp_path / f"{name}.png").write_bytes(data)
    write_image(tmp_path / "behind.png", photograph(30, 70, 5)[0])
    behind = (tmp_path / "behind.png").read_bytes()
    cases: list[tuple[dict[str, str], dict[str, bytes], Wanted, str]] = [
        ({}, {}, Wanted(), "png"),
        ({"result": "alpha"}, {}, Wanted("alpha"), "png"),
        ({"result": "alpha", "bits": "16"}, {}, Wanted("alpha", bits=16), "png"),
        ({"result": "alpha", "format": "tiff"}, {}, Wanted("alpha"), "tiff"),
        ({"result": "foreground", "format": "webp"}, {}, Wanted("foreground"), "webp"),
        ({"result": "premultiplied"}, {}, Wanted("premultiplied"), "png"),
        ({"result": "composite", "background": "#30a040"}, {}, Wanted("composite", "#30a040"), "png"),
        ({"result": "composite"}, {"background": behind}, Wanted("composite", str(tmp_path / "behind.png")), "png"),
    ]
    for texts, files, wanted, suffix in cases:
        output = tmp_path / f"expected_{len(list(tmp_path.iterdir()))}.{suffix}"
        matte_files(matter, tmp_path / "image.png", tmp_path / "trimap.png", output, wanted)
        answer = httpx.post(f"{address}/v1/matte", files={**form(), **files}, data=texts)
        assert answer.status_code == 200, (texts, answer.text)
        assert answer.headers["content-type"] == f"image/{suffix}"
        assert answer.content == output.read_bytes(), texts


def test_a_request_has_views_and_a_region_of_its_own(address: str, tmp_path: Path) -> None:
    image, trimap = photograph(50, 61)
    four = Matter(small_network().eval(), "cpu", views=4, engine="torch", region="near").matte(image, trimap)
    for texts in ({"views": "4", "region": "near"}, {}):
        answer = httpx.post(f"{address}/v1/matte", files=form(), data={"result": "alpha", **texts})
        (tmp_path / "alpha.png").write_bytes(answer.content)
        same = (read_alpha(tmp_path / "alpha.png") == np.rint(four * 255)).all()
        assert same == bool(texts)


def test_a_mask_takes_the_place_of_a_trimap(address: str, matter: Matter, tmp_path: Path) -> None:
    image = photograph(50, 61)[0]
    expected = matter.matte(image, trimap_from_mask(a_mask(), Width(6, percent=False)))
    files = {"image": png(image), "mask": png(a_mask())}
    answer = httpx.post(f"{address}/v1/matte", files=files, data={"result": "alpha", "width": "6"})
    (tmp_path / "alpha.png").write_bytes(answer.content)
    assert (read_alpha(tmp_path / "alpha.png") == np.rint(expected * 255)).all()


def test_trimaps_are_those_of_the_command_line(address: str, tmp_path: Path) -> None:
    image = photograph(50, 61)[0]
    image[15:35, 15:40] //= 8
    marks = {"rectangle": "10,10,40,30", "inside": ["20,20", "30,30"], "outside": "5,5", "width": "4"}
    found = grab_cut(image, Rectangle(10, 10, 40, 30), [(20, 20), (30, 30)], [(5, 5)])
    for files, texts, mask in (
        ({"mask": png(a_mask())}, {"width": "4"}, a_mask()),
        ({"image": png(image)}, marks, found),
    ):
        answer = httpx.post(f"{address}/v1/trimap", files=files, data=texts)
        assert answer.status_code == 200, answer.text
        (tmp_path / "trimap.png").write_bytes(answer.content)
        assert (read_alpha(tmp_path / "trimap.png") == trimap_from_mask(mask, Width(4, percent=False))).all()


# A header that promises 50000 x 50000 pixels, and nothing after it.
HEADER = b"IHDR" + struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + HEADER + struct.pack(">I", zlib.crc32(HEADER))
BOMB += struct.pack(">I", 4) + b"IDAT" + bytes(8)
WHOLE = form()


@pytest.mark.parametrize(
    ("path", "files", "texts", "status", "message"),
    [
        ("matte", {**WHOLE, "image": WHOLE["image"][:900]}, {}, 400, "image: expected an image"),
        ("matte", {**WHOLE, "trimap": b"GIF89a no"}, {}, 400, "trimap: expected an image"),
        ("matte", {**WHOLE, "image": b""}, {}, 400, "image: expected an image, got an empty file"),
        ("matte", {**WHOLE, "trimap": form(61, 50)["trimap"]}, {}, 400, "trimap: expected 61 x 50 pixels"),
        ("matte", {**WHOLE, "mask": png(a_mask())}, {}, 400, "expected one of trimap and mask, got 2"),
        ("matte", {"image": WHOLE["image"]}, {}, 400, "expected one of trimap and mask, got none"),
        ("matte", {"trimap": WHOLE["trimap"]}, {}, 400, "image: expected an uploaded file, got none"),
        ("matte", {**WHOLE, "photo": b"x"}, {}, 400, "photo: expected a field of image, trimap"),
        ("matte", {**WHOLE, "views": b"2"}, {}, 400, "views: expected a text, got a file"),
        ("matte", WHOLE, {"views": "3"}, 400, "views: expected 1, 2 or 4, got 3"),
        ("matte", WHOLE, {"views": ["2", "4"]}, 400, "views: expected it once"),
        ("matte", WHOLE, {"width": "9"}, 400, "width: expected a mask beside it"),
        ("matte", WHOLE, {"bits": "16"}, 400, "bits: expected 8 for cutout"),
        ("matte", WHOLE, {"format": "jpeg"}, 400, "expected a format with an alpha channel"),
        ("matte", WHOLE, {"result": "composite"}, 400, "background: expected with result=composite"),
        ("matte", WHOLE, {"result": "composite", "background": "/etc/passwd"}, 400, "background: expected a colour"),
        ("matte", {"trimap": WHOLE["trimap"]}, {"image": "http://127.0.0.1/x"}, 400, "this server fetches nothing"),
        ("matte", {**WHOLE, "image": BOMB}, {}, 413, "image: expected at most 10000 pixels, got 50000 x 50000"),
        ("matte", {**WHOLE, "image": WHOLE["image"] + bytes(200_000)}, {}, 413, "expected at most 200000 bytes"),
        ("trimap", {"mask": WHOLE["image"]}, {}, 400, "mask: expected an alpha matte"),
        ("trimap", {"mask": png(a_mask())}, {"rectangle": "1,1,9,9"}, 400, "expected a mask, or an image and marks"),
        ("trimap", {"image": WHOLE["image"]}, {"rectangle": "1,1,900,9"}, 400, "rectangle: expected X"),
        ("trimap", {"image": WHOLE["image"]}, {"inside": "999,1"}, 400, "inside: expected a point"),
        ("matte", {"image": WHOLE["image"], "mask": png(a_mask())}, {"width": "-5"}, 400, "width: expected pixels"),
        ("matte?result=alpha", WHOLE, {}, 400, "expected fields of the form, got a query in the address: result=alpha"),
        ("trimap", {"image": WHOLE["image"]}, {"inside": "1;1"}, 400, "inside: expected a point X,Y"),
    ],
)
def test_what_cannot_be_used_is_refused(
    address: str, path: str, files: Any, texts: Any, status: int, message: str
) -> None:
    answer = httpx.post(f"{address}/v1/{path}", files=files, data=texts)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert message in error and "\n" not in error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # python-multipart's temporary file
def test_requests_that_are_no_forms_are_refused(address: str) -> None:
    head = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    assert httpx.post(f"{address}/v1/matte", content=b"{}").status_code == 415
    assert httpx.post(f"{address}/v1/matte", data={"image": "x"}).status_code == 415
    assert httpx.post(f"{address}/v1/matte", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert httpx.post(f"{address}/v1/matte", content=b"nonsense", headers=head).status_code == 400
    assert httpx.post(f"{address}/v1/matte", content=part + b"cut", headers=head).status_code == 400
    loud = {"content-type": "Multipart/Form-Data; boundary=x"}  # upper and lower case are alike
    assert "image: expected" in httpx.post(f"{address}/v1/matte", content=b"--x--", headers=loud).json()["error"]
    assert httpx.get(f"{address}/v1/matte").status_code == 405
    assert httpx.get(f"{address}/../etc/passwd").status_code == 404
    # Chunks without a length are counted as they come.
    chunks = (part if number == 0 else bytes(10_000) for number in range(21))
    assert httpx.post(f"{address}/v1/matte", content=chunks, headers=head).status_code == 413
    assert httpx.post(f"{address}/v1/matte", files=form()).status_code == 200  # no place was lost


def test_other_hosts_and_origins_are_kept_out(address: str) -> None:
    def ask(**headers: str) -> Any:
        return httpx.get(f"{address}/healthz", headers=headers)

    assert ask(host="evil.example").status_code == 421
    assert ask(host="localhost:1234").status_code == 200
    assert ask(origin="https://evil.example").status_code == 403
    assert ask(origin="null").status_code == 403
    assert "access-control-allow-origin" not in ask(origin=address).headers
    assert ask(origin="https://friend.example").headers["access-control-allow-origin"] == "https://friend.example"


def test_metrics_count_requests(address: str) -> None:
    def count() -> float:
        text = httpx.get(f"{address}/metrics").text
        found = re.search(r'^cheapmatting_requests_total\{route="/v1/matte",status="200"\} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0

    before = count()
    assert httpx.post(f"{address}/v1/matte", files=form()).status_code == 200
    assert count() == before + 1


def test_the_description_names_the_fields_and_its_page_loads_nothing(address: str) -> None:
    document = httpx.get(f"{address}/openapi.json").json()
    schema = document["paths"]["/v1/matte"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(schema["properties"]) == {*MATTE_FILES, *MATTE_TEXTS}
    page = httpx.get(f"{address}/docs").text
    assert all(name in page for name in schema["properties"])
    assert not re.search(r"(src|href)=|url\(|<script", page)
    assert json.loads(httpx.get(f"{address}/healthz").text)["status"] == "ok"


@pytest.fixture
def held() -> Iterator[HeldMatter]:
    matter = HeldMatter(small_network().eval(), "cpu", engine="torch")
    yield matter
    matter.release.set()


def test_a_full_queue_refuses_and_then_serves_again(held: HeldMatter) -> None:
    with serving(make_app(held, Limits(queue=2))) as address, ThreadPoolExecutor(2) as clients:
        first = [clients.submit(httpx.post, f"{address}/v1/matte", files=form(), timeout=30) for _ in range(2)]
        until(lambda: "places_taken 2.0" in httpx.get(f"{address}/metrics").text)
        refused = httpx.post(f"{address}/v1/matte", files=form())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "the queue is full (2 requests)" in refused.json()["error"]
        held.release.set()
        assert [future.result().status_code for future in first] == [200, 200]
        assert httpx.post(f"{address}/v1/matte", files=form()).status_code == 200


def test_waiting_requests_of_one_size_are_computed_in_one_call_and_each_gets_its_own_answer(
    held: HeldMatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[Work] = []
    submit = WorkQueue.submit

    def counting(queue: WorkQueue, work: Work) -> Any:
        future = submit(queue, work)
        submitted.append(work)
        return future

    monkeypatch.setattr(WorkQueue, "submit", counting)
    matter = Matter(held.network, "cpu", engine="torch")

    def ask(seed: int) -> Any:
        files, texts = form(50, 61, seed), {"views": "2" if seed == 5 else "1"}
        if seed == 6:
            files["image"] = files["image"][:-30]  # its header is whole
        return httpx.post(f"{address}/v1/matte", files=files, data={"result": "alpha", **texts}, timeout=30)

    with serving(make_app(held, Limits(queue=16, batch=4))) as address, ThreadPoolExecutor(12) as clients:
        answers = [clients.submit(ask, 0)]
        until(lambda: held.began)
        answers += [clients.submit(ask, seed) for seed in range(1, 12)]
        until(lambda: len(submitted) == 12)
        held.release.set()
        for seed, answer in enumerate(answers):
            if seed == 6:
                assert answer.result().status_code == 400
                continue
            assert answer.result().status_code == 200
            alpha = np.asarray(Image.open(io.BytesIO(answer.result().content)))
            single = Matter(held.network, "cpu", 2, engine="torch") if seed == 5 else matter
            assert (alpha == np.rint(single.matte(*photograph(50, 61, seed)) * 255)).all()
        metrics = httpx.get(f"{address}/metrics").text
    assert "cheapmatting_requests_per_call_sum 11.0" in metrics
    # The first one, the one of two views, and of the ten others, one of them broken, 4, 4 and 2.
    assert "cheapmatting_requests_per_call_count 5.0" in metrics
    assert sum(shape in ((4, 50, 61), (3, 50, 61)) for shape in held.began) >= 2


def test_a_request_that_takes_too_long_is_answered_and_holds_its_place_until_its_work_ends(held: HeldMatter) -> None:
    with serving(make_app(held, Limits(queue=1, timeout=0.5))) as address:
        late = httpx.post(f"{address}/v1/matte", files=form())
        assert late.status_code == 503 and "not ready within 0.5 s" in late.json()["error"]
        assert "the queue is full" in httpx.post(f"{address}/v1/matte", files=form()).json()["error"]
        held.release.set()
        until(lambda: "places_taken 0.0" in httpx.get(f"{address}/metrics").text)


def test_a_slow_upload_is_ended(matter: Matter) -> None:
    with serving(make_app(matter, Limits(queue=1, timeout=0.5))) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(
                b"POST /v1/matte HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert httpx.post(f"{address}/v1/trimap", files={"mask": png(a_mask())}).status_code == 200


def test_the_work_of_a_client_that_left_is_dropped(held: HeldMatter) -> None:
    with serving(make_app(held, Limits(queue=3))) as address, ThreadPoolExecutor(1) as clients:
        first = clients.submit(httpx.post, f"{address}/v1/matte", files=form(50, 61), timeout=30)
        until(lambda: held.began)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/matte", files=form(40, 41), timeout=0.3)
        until(lambda: 'route="/v1/matte",status="499"} 1.0' in httpx.get(f"{address}/metrics").text)
        held.release.set()
        assert first.result().status_code == 200
        assert httpx.post(f"{address}/v1/matte", files=form(30, 31)).status_code == 200
        assert held.began == [(50, 61), (30, 31)]


def test_answers_to_concurrent_clients_are_never_mixed_up(matter: Matter, tmp_path: Path) -> None:
    pairs = [photograph(40 + 3 * seed, 70 - 2 * seed, seed) for seed in range(8)]
    expected = [np.rint(matter.matte(*pair) * 255).astype(np.uint8) for pair in pairs]
    faults: list[str] = []

    def client(address: str, seed: int) -> None:
        files = {name: png(array) for name, array in zip(("image", "trimap"), pairs[seed], strict=True)}
        for turn in range(4):
            if turn == 2:
                broken = httpx.post(f"{address}/v1/matte", files={**files, "image": files["image"][:400]}, timeout=30)
                faults.extend([f"{seed}: {broken.status_code}"] * (broken.status_code != 400))
            answer = httpx.post(f"{address}/v1/matte", files=files, data={"result": "alpha"}, timeout=30)
            path = tmp_path / f"{seed}_{turn}.png"
            path.write_bytes(answer.content)
            if answer.status_code != 200 or not np.array_equal(read_image(path)[..., 0], expected[seed]):
                faults.append(f"{seed}, {turn}: {answer.status_code}")

    with serving(make_app(matter, Limits(queue=8))) as address:
        threads = [threading.Thread(target=client, args=(address, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults
