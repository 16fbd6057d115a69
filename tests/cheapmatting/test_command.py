"""The command `cheapmatting`, and every way of misusing it: status 2, one line on stderr, nothing left behind."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small import NETWORK, SIZE, edited, photograph, small_network

import cheapmatting
from atldas import __version__
from atldas.common.yaml_text import read_yaml, to_yaml
from cheapmatting.command import main
from cheapmatting.images import read_image, read_rgba, write_image
from cheapmatting.inference.matte import Matter
from cheapmatting.model import weights
from cheapmatting.pipeline import example
from cheapmatting.trimap import read_trimap

TRAINING = {
    "schema": 1, "steps": 2, "batch": 1, "workers": 0, "data": {"size": SIZE}, "losses": {"l1_unknown": 1.0},
    "precision": "float32", "calibration": {"pairs": 4, "last": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph, a trimap, weights, a variant and a training's settings."""
    folder = tmp_path_factory.mktemp("templates")
    image, trimap = photograph(50, 61)
    write_image(folder / "photo.png", image)
    write_image(folder / "trimap.png", trimap)
    weights.save(small_network().eval(), folder / "model.safetensors")
    edited(folder, str(NETWORK), "variant")
    (folder / "train.yaml").write_text(to_yaml(TRAINING))
    return folder


@pytest.fixture
def here(templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of those files as the current folder."""
    shutil.copytree(templates, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Path(".")


def names() -> list[str]:
    return sorted(str(path) for path in Path(".").rglob("*"))


def refused(arguments: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a misuse and return its one line."""
    before = names()
    assert main(arguments.split()) == 2
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert names() == before
    return captured.err


MATTE = "matte photo.png trimap.png --weights model.safetensors --device cpu"


def cut(path: str, keep: int) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:keep])


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (None, MATTE.replace("photo", "nobody"), "nobody.png: cannot be read (No such file or directory)"),
        (None, MATTE.replace("trimap", "nothing"), "nothing.png: cannot be read (No such file or directory)"),
        (lambda: Path("folder.png").mkdir(), MATTE.replace("photo", "folder"),
         "folder.png: expected a folder to write to, with --out"),
        (lambda: Path("photo.png").write_bytes(b""), MATTE, "photo.png: expected an image, got an empty file"),
        (lambda: Path("photo.png").write_text("text"), MATTE, "photo.png: expected an image (.png, .jpg"),
        (None, MATTE.replace("trimap.png", "photo.png"), "and 255 (foreground), got a colour image"),
        (lambda: write_image("trimap.png", np.zeros((61, 50), np.uint8)), MATTE, "as photo.png has, got 50 x 61"),
        (None, MATTE.replace("model", "nothing"), "or a shipped name (cheapmatting-light), got none"),
        (None, MATTE.replace("model.safetensors", "photo.png"), "photo.png: expected a safetensors file of ours or"),
        (lambda: Path("empty").mkdir(), MATTE.replace("model.safetensors", "empty"),
         "empty: expected a run's folder with model.safetensors, got a folder without"),
        (lambda: cut("model.safetensors", 999), MATTE, "model.safetensors: expected a whole safetensors file"),
        (None, f"{MATTE} -o photo.png/out.png", "photo.png/out.png: cannot be written"),
        (lambda: Path("out.png").mkdir(), f"{MATTE} -o out.png", "out.png: expected the name of a file, got a folder"),
        (lambda: Path("out").mkdir(), f"{MATTE} -o out", "got a folder; name one with -o"),
        (None, f"{MATTE} -o out.gif", "out.gif: expected a name that ends in .png, .jpg"),
        (None, f"{MATTE} -o out", "out: expected a name that ends in .png, .jpg"),
        (None, f"{MATTE} -o out.jpg", "out.jpg: expected a format with an alpha channel (.png, .webp, .tif), got .jpg"),
        (None, MATTE.replace("--device cpu", "--device gpu"), "expected one of auto, cpu, cuda, mps, got gpu"),
        (None, "info nothing", "nothing: expected a file, a run's folder or a shipped name (amoebanet, c"),
        (None, "info nothing.yaml", "nothing.yaml: expected a file, a run's folder or a shipped name (amoe"),
        (lambda: Path("empty").mkdir(), "info empty", "empty: expected a run's folder with model."),
        (None, "info photo.png", "photo.png: expected a YAML file, got a file that is not UTF-8 text"),
        (None, "info train.yaml", "train.yaml: steps: unknown key"),
        (None, "info variant.yaml --size 0", "--size: expected a side or WIDTHxHEIGHT"),
        (lambda: edited(Path("."), "{widht: 8}", "variant"), "info variant.yaml",
         "variant.yaml: network.widht: unknown key (did you mean width?)"),
        (lambda: edited(Path("."), "{widht: 8}", "variant"), "train variant.yaml --config train.yaml",
         "variant.yaml: network.widht: unknown key (did you mean width?)"),
        (None, "train variant.yaml --config nothing.yaml", "nothing.yaml: cannot be read (No such file or directory)"),
        (None, "train nothing --config train.yaml", "nothing: expected a file, a run's folder or"),
        (lambda: Path("train.yaml").write_text("schema: 1\nstesp: 3\n"), "train variant.yaml --config train.yaml",
         "train.yaml: stesp: unknown key (did you mean steps?)"),
        (lambda: Path("train.yaml").write_text("schema: 1\nsteps: [\n"), "train variant.yaml --config train.yaml",
         "train.yaml: expected valid YAML, got a fault at line 3"),
        (lambda: Path("train.yaml").write_text(""), "train variant.yaml --config train.yaml", "got an empty file"),
        (None, "train variant.yaml --config train.yaml --set steps", "--set steps: expected key.path=value"),
        (None, "train variant.yaml --config train.yaml --set steps=many", "steps: expected an integer, got \"many\""),
        (None, "train variant.yaml --config train.yaml --set steps.a=1", "steps: expected a mapping of keys to"),
        (None, "train variant.yaml --config train.yaml --resume --out new", "new: holds no run to resume"),
        (None, "train variant.yaml --config train.yaml --out photo.png", "photo.png: expected a folder for the run"),
        (None, "train variant.yaml --config train.yaml --device gpu", "expected one of auto, cpu, cuda, mps, got gpu"),
        (None, "train variant.yaml --config train.yaml --from photo.png", "photo.png: expected a safetensors file"),
        (None, "train cheapmatting --config train.yaml --from model.safetensors",
         "--from model.safetensors: expected the network of cheapmatting, got another"),
        (None, MATTE + " -o photo.png", "photo.png: expected another file than the input"),
        (None, "run nothing", "nothing: expected a file or a shipped experiment such as quickstart, got neither"),
        (None, "run train.yaml", "train.yaml: steps: unknown key"),
        (None, "run quickstart --set train.stesp=1", "quickstart: train.stesp: unknown key (did you mean"),
        (None, "run quickstart --out photo.png", "photo.png: expected a folder for the run, got a file"),
        (None, "run quickstart --device gpu", "expected one of auto, cpu, cuda, mps, got gpu"),
    ],
)  # fmt: skip
def test_misuse(
    here: Path, capfd: pytest.CaptureFixture[str], prepare: Callable[[], object] | None, arguments: str, message: str
) -> None:
    if prepare:
        prepare()
    assert message in refused(arguments, capfd)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("arguments", ["run quickstart", "train variant.yaml --config train.yaml", MATTE[:-13]])
def test_a_device_that_is_not_there(here: Path, capfd: pytest.CaptureFixture[str], arguments: str) -> None:
    line = refused(f"{arguments} --device cuda", capfd)
    assert line == "error: --device cuda: this machine, or this build of PyTorch, has none; use --device cpu\n"


def test_cut_out_and_alpha_beside_the_photograph(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(MATTE.split()) == 0
    assert capfd.readouterr().out == "photo_cutout.png\n"
    assert main([*MATTE.split(), "--alpha"]) == 0
    printed = capfd.readouterr()
    assert printed.out == "photo_alpha.png\n" and printed.err.startswith("engine: torch, fp32, on cpu")
    image, trimap = photograph(50, 61)
    alpha = np.rint(Matter("model.safetensors", "cpu").matte(image, trimap) * 255)
    np.testing.assert_array_equal(read_image("photo_alpha.png")[..., 0], alpha)
    np.testing.assert_array_equal(np.rint(read_rgba("photo_cutout.png")[1] * 255), alpha)
    assert len(names()) == 7


def test_a_file_that_exists_is_replaced_only_with_force(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_image("photo.jpg", 255 - read_image("photo.png"))
    assert main(MATTE.split()) == 0
    first = Path("photo_cutout.png").read_bytes()
    capfd.readouterr()
    for image in ("photo.png", "photo.jpg"):  # names that differ in the suffix alone have the same default output
        line = refused(MATTE.replace("photo.png", image), capfd)
        assert line == "error: photo_cutout.png: exists; replace it with --force, or name another file with -o\n"
        assert Path("photo_cutout.png").read_bytes() == first
    assert main([*MATTE.replace("photo.png", "photo.jpg").split(), "--force"]) == 0
    assert Path("photo_cutout.png").read_bytes() != first


def test_a_matte_imports_no_more_than_it_needs(here: Path) -> None:
    code = f"""
import sys
from cheapmatting.command import main
assert main({MATTE.split()!r}) == 0
print([name for name in ("matplotlib", "networkx", "pandas", "PIL.IcoImagePlugin", "onnx", "onnxruntime", "openvino")
       if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_views(here: Path) -> None:
    assert main([*MATTE.split(), "--alpha", "--views", "4"]) == 0
    alphas = [Matter("model.safetensors", "cpu", views).matte(*photograph(50, 61)) for views in (4, 1)]
    np.testing.assert_array_equal(read_image("photo_alpha.png")[..., 0], np.rint(alphas[0] * 255))
    assert np.abs(alphas[0] - alphas[1]).max() > 1e-3


def test_sixteen_bits_and_folders_made_on_the_way(here: Path) -> None:
    image, trimap = photograph(50, 61)
    for name, array in (("photo.png", image[..., ::-1]), ("trimap.png", trimap)):
        Path(name).write_bytes(cv2.imencode(".png", array.astype(np.uint16) * 257)[1].tobytes())
    assert main([*MATTE.split(), "-o", "new/folder/out.webp"]) == 0
    alpha = np.rint(Matter("model.safetensors", "cpu").matte(image, trimap) * 255)
    np.testing.assert_array_equal(np.rint(read_rgba("new/folder/out.webp")[1] * 255), alpha)


def test_bundled_photograph(here: Path) -> None:
    files = [str(example(name)) for name in ("chelsea.jpg", "chelsea_trimap.png")]
    assert main(["matte", *files, "--weights", "model.safetensors", "-o", "cat.png"]) == 0
    assert read_rgba("cat.png")[1].shape == read_image(files[0]).shape[:2]


def test_torchrun_is_for_training_alone(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["info", "variant.yaml"]) == 2
    error = "error: cheapmatting info: expected one process, got several; leave out torchrun, which is for training\n"
    assert capfd.readouterr().err == error
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["info", "variant.yaml"]) == 0


def test_shipped_weights_are_the_default(here: Path) -> None:
    files = [str(example(name)) for name in ("chelsea.jpg", "chelsea_trimap.png")]
    assert main(["matte", *files, "-o", "default.png"]) == 0
    assert main(["matte", *files, "--weights", "cheapmatting-light", "-o", "named.png"]) == 0
    assert Path("default.png").read_bytes() == Path("named.png").read_bytes()
    alpha = read_rgba("default.png")[1]
    trimap = read_trimap(files[1])
    assert (alpha[trimap == 255] == 1).all() and (alpha[trimap == 0] == 0).all()
    unknown = alpha[trimap == 128]
    assert unknown.std() > 0.2  # decided, not grey


def test_info_prints_the_table(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "cheapmatting", "variant.yaml", "--size", "200x100"]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0].split() == ["cheapmatting", "variant"]
    assert printed[-2].startswith("at 224x128") and "5,924,593" in printed[-3]


def test_help_is_quick_because_it_imports_no_pytorch() -> None:
    code = (
        "import sys, cheapmatting\n"
        "from cheapmatting.command import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        "    print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'numpy', 'cv2', 'networkx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: cheapmatting") and done.stdout.splitlines()[-1] == "[]"


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cheapmatting", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cheapmatting {__version__}\n"


def test_what_the_package_exports() -> None:
    assert cheapmatting.Matter is Matter and cheapmatting.read_image is read_image
    assert cheapmatting.read_trimap is read_trimap and cheapmatting.cut_out.__module__.endswith("foreground")
    assert {"Matter", "cut_out", "read_image", "read_trimap"} <= set(dir(cheapmatting))
    with pytest.raises(AttributeError, match="has no attribute 'Mater'"):
        cheapmatting.Mater  # noqa: B018


def test_a_models_file_or_folder_is_a_variant_and_weights(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    shutil.copy("model.safetensors", "run")
    printed = {}
    for source in ("variant.yaml", "model.safetensors", "run"):
        assert main(["info", source, "--size", "96"]) == 0
        printed[source] = capfd.readouterr().out.splitlines()[1:]
    assert printed["variant.yaml"] == printed["model.safetensors"] == printed["run"]
    assert main(["train", "run", "--config", "train.yaml", "--from", "run", "--out", "on", "--device", "cpu"]) == 0
    assert main([*MATTE.replace("model.safetensors", "on").split(), "-o", "on.png"]) == 0
    assert main([*MATTE.replace("model.safetensors", "on/model.safetensors").split(), "-o", "on_file.png"]) == 0
    assert Path("on.png").read_bytes() == Path("on_file.png").read_bytes()


OPERATION = """
from torch import nn
from atldas.operations import OPERATIONS

OPERATIONS["shuffled"] = lambda channels, stride: nn.Sequential(
    nn.ChannelShuffle(2), nn.Conv2d(channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
)
"""


def test_what_needs_an_operation_of_ones_own_is_trained_matted_and_measured(here: Path) -> None:
    # In processes of their own: the module is imported once a process.
    Path("my_operations.py").write_text(OPERATION)
    text = Path("variant.yaml").read_text()
    Path("mine.yaml").write_text(text.replace("sep_conv_3x3", "shuffled"))
    for folder, name in (("images", "photo.png"), ("truths", "trimap.png"), ("trimaps", "trimap.png")):
        Path(folder).mkdir()
        shutil.copy(name, f"{folder}/a.png")
    model = "mine/model.safetensors"
    lines = [
        "info mine.yaml --size 96",
        "train mine.yaml --config train.yaml --out mine --device cpu",
        f"info {model} --size 96",
        f"{MATTE.replace('model.safetensors', model)} -o cut.png",
        f"evaluate --weights {model} --images images --truths truths --trimaps trimaps --out measured --device cpu",
    ]
    for line in lines:
        call = [sys.executable, "-m", "cheapmatting", *line.split()]
        done = subprocess.run([*call, "--import", "my_operations"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert Path("cut.png").exists() and Path("measured/means.yaml").exists()
    without = subprocess.run([*call[:-4], "--out", "again"], capture_output=True, text=True)
    assert without.returncode == 2 and without.stderr.count("\n") == 1
    assert "unknown operation" in without.stderr and "shuffled" in without.stderr
    wrong = subprocess.run([*call, "--import", "my_operation"], capture_output=True, text=True)
    assert wrong.stderr == "error: --import my_operation: expected a module, but there is no my_operation\n"


def test_the_weights_that_a_run_began_with_are_recorded(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = "train variant.yaml --config train.yaml --out on --device cpu"
    assert main([*line.split(), "--from", "model.safetensors"]) == 0
    recorded = read_yaml("on/config.yaml")["from"]
    digest = hashlib.sha256(Path("model.safetensors").read_bytes()).hexdigest()
    assert recorded == {"path": "model.safetensors", "sha256": digest}
    weights.save(small_network(seed=5), "other.safetensors")
    capfd.readouterr()
    assert "from" in refused(f"{line} --resume --from other.safetensors", capfd)
    assert "from" in refused(f"{line} --resume", capfd)
    shutil.move("model.safetensors", "moved.safetensors")  # the same weights in another place
    assert main([*line.split(), "--resume", "--from", "moved.safetensors"]) == 0


def test_train_and_go_on_from_its_weights(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "variant.yaml", "--config", "train.yaml", "--device", "cpu"]) == 0
    assert capfd.readouterr().out == (
        "the model is runs/variant-train/model.safetensors; beside it log.csv and curves.png\n"
    )
    first = "runs/variant-train/model.safetensors"
    again = f"train variant.yaml --config train.yaml --from {first} --set optimizer.lr=1.0e-12 --out on --device cpu"
    assert main(again.split()) == 0
    before, after = (weights.load(path).state_dict()["head.4.weight"] for path in (first, "on/model.safetensors"))
    assert torch.allclose(before, after, atol=1e-6)
    capfd.readouterr()
    assert "holds a run already" in refused("train variant.yaml --config train.yaml --device cpu", capfd)
    assert main(["train", "variant.yaml", "--config", "train.yaml", "--device", "cpu", "--resume"]) == 0


def test_weights_without_hints_begin_a_variant_with_hints(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edited(Path("."), str({**NETWORK, "hints": True}), "told")
    words = "train told.yaml --config train.yaml --from model.safetensors --set optimizer.lr=1.0e-12 --out on"
    assert main([*words.split(), "--device", "cpu"]) == 0
    start, told = weights.load("model.safetensors"), weights.load("on/model.safetensors")
    taken = told.stem_half[0].weight
    torch.testing.assert_close(taken[:, :6], start.stem_half[0].weight, rtol=0, atol=1e-6)
    assert taken.shape[1] == 8 and taken[:, 6:].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("", "cheapmatting: error: the following arguments are required: VERB; see cheapmatting --help"),
        ("matt", "cheapmatting: error: argument VERB: invalid choice: 'matt' (choose from "),
        ("train variant.yaml", "cheapmatting train: error: the following arguments are required: --config; see "),
        ("info", "cheapmatting info: error: the following arguments are required: FILE|RUN|NAME; see "),
        ("run a.yaml --what", "cheapmatting run: error: unrecognized arguments: --what; see cheapmatting run --help"),
        ("matte a.png --views 3", "cheapmatting matte: error: argument --views: invalid choice: 3 (choose from "),
        ("export a --format onnx --precision int8", "cheapmatting export: error: argument --precision: invalid choice"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line(arguments: str, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments.split())
    said = capfd.readouterr().err
    assert said.startswith(line) and said.endswith(" --help\n") and said.count("\n") == 1


def test_a_damaged_image_in_a_process_of_its_own(here: Path) -> None:
    # OpenCV writes lines of its own to stderr, unless it is told not to before it starts.
    cut("photo.png", 500)
    done = subprocess.run(
        [sys.executable, "-m", "cheapmatting", *MATTE.split()], capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: photo.png: expected an image (.png, .jpg") and done.stderr.count("\n") == 1
    assert len(names()) == 5
