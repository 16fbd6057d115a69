"""A network as a program without Python code of its own: torch.export's .pt2 and ONNX, checked against PyTorch."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.atomic import atomic_path
from ..common.errors import UserError
from .subject import Subject, described

TOLERANCE = 1e-4  # of the largest value of PyTorch's output; float32 kernels that differ stay under 1e-5
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SMALLEST = 8  # pixels that an example has at least: a size of 1 is another program to torch.export

Run = Callable[[Tensor], Tensor]
Size = tuple[int, ...]


class _OffError(Exception):
    """A file's output is not PyTorch's."""


def write_pt2(subject: Subject, path: Path) -> str:
    """Write a program that `torch.export.load` reads; returns what was checked, in words."""

    def write(program: torch.export.ExportedProgram, temporary: Path) -> None:
        torch.export.save(program, temporary, extra_files=described(subject))

    def load(temporary: Path) -> Run:
        return torch.export.load(temporary).module()

    return _checked(subject, path, write, load)


def write_onnx(subject: Subject, path: Path) -> str:
    """Write an ONNX file with its weights inside; returns what was checked, in words. ONNX Runtime checks it.

    Raises:
        UserError: a package is missing, or the output is not PyTorch's.
    """
    try:
        onnxruntime = [importlib.import_module(package) for package in PACKAGES][-1]
    except ModuleNotFoundError as error:
        raise UserError(f'--format onnx needs the package {error.name}: pip install "cheapmatting[onnx]"') from error

    def write(program: torch.export.ExportedProgram, temporary: Path) -> None:
        made = torch.onnx.export(program, dynamo=True, verbose=False)
        assert made is not None
        made.model.metadata_props.update(described(subject))
        made.model.producer_name = "atldas"
        made.save(temporary, external_data=False)

    def load(temporary: Path) -> Run:
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    return _checked(subject, path, write, load)


def _checked(
    subject: Subject,
    path: Path,
    write: Callable[[torch.export.ExportedProgram, Path], None],
    load: Callable[[Path], Run],
) -> str:
    """Write the most general program that is right: of any size, else of a fixed height and width.

    An example of an odd size comes first: the program then holds the code for sizes that a network pads or rounds.
    """
    height, width = subject.input_shape[2:]
    base, larger = (height, width), (2 * height, width + width // 2)
    odd = (max(height, SMALLEST) + 1, max(width, SMALLEST) + 3)
    possible = [size for size in (base, larger, odd) if _runs(subject, size)]
    if base not in possible:
        raise UserError(
            f"the network does not run on an input of {list(subject.input_shape)}; give its size by --input"
        )
    fault = ""
    dynamic = list(reversed(possible)) if len(possible) > 1 else []
    for example in (*dynamic, None):
        try:
            with _quiet(), atomic_path(path) as temporary:
                write(_program(subject, example or base, dynamic=example is not None), temporary)
                worst, refused = _compare(subject, load(temporary), base, possible if example else [base])
        except UserError:
            raise
        except Exception as error:  # every exporter and runtime has its own
            fault = str(error).partition("\n")[0] or type(error).__name__
            continue
        sizes = "any height and width that the network takes" if example else f"height {height}, width {width}"
        sizes += f", but not {' and '.join(f'{h}x{w}' for h, w in refused)}" if refused else ""
        return f"any batch, {sizes}; equal to PyTorch within {worst:.1e} of the largest value"
    raise UserError(f"{path}: not written: no program gives PyTorch's output ({fault})")


def _program(subject: Subject, size: Size, dynamic: bool) -> torch.export.ExportedProgram:
    """The traced network; its batch is any number, with `dynamic` its height and width too where it allows that."""
    anything = torch.export.Dim.AUTO
    shape: dict[int, Any] = {0: anything} | ({2: anything, 3: anything} if dynamic else {})
    inputs = subject.example((2, subject.input_shape[1], *size))
    with torch.no_grad():
        program = torch.export.export(subject.network, (inputs,), dynamic_shapes=(shape,))
    given = program.graph_signature.user_inputs[0]
    traced = next(node for node in program.graph.nodes if node.name == given).meta["val"].shape
    fixed = [axis for axis in shape if isinstance(traced[axis], int)]
    if fixed:
        raise _OffError(f"the network runs only with the size {traced[fixed[0]]} of axis {fixed[0]}")
    return program


def _compare(subject: Subject, run: Run, base: Size, sizes: Sequence[Size]) -> tuple[float, list[Size]]:
    """The largest error relative to the largest output, and the sizes that the program refuses to run.

    Raises:
        _OffError: a wrong output, or the base size is refused.
    """
    worst, refused = 0.0, []
    for size in sizes:
        for batch in (1, 3):
            inputs = subject.example((batch, subject.input_shape[1], *size))
            with torch.no_grad():
                expected = subject.network(inputs)
                try:
                    got = run(inputs)
                except Exception as error:  # each runtime has its own
                    if size == base:
                        raise _OffError(f"the program does not run: {str(error).splitlines()[0]}") from error
                    refused.append(size)
                    break
            off = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
            if got.shape != expected.shape or not off <= TOLERANCE:  # not a number is no equality
                raise _OffError(f"at {list(inputs.shape)} the output is off by {off:.1e} of the largest value")
            worst = max(worst, off)
    if refused and len(refused) == len(sizes) - 1:
        raise _OffError("the program runs at one size only")
    return worst, refused


def _runs(subject: Subject, size: Size) -> bool:
    """Whether PyTorch itself runs the network at this size."""
    try:
        with torch.no_grad():
            subject.network(subject.example((1, subject.input_shape[1], *size)))
    except RuntimeError:
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own warnings: what matters is checked."""
    noisy = logging.getLogger("torch.onnx")
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(before)
