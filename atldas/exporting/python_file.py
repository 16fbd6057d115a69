"""A network as one readable Python file that needs PyTorch and nothing else.

The file holds the network's own code, copied: the `forward` of every class, the operations, functions and constants
that they use. Cells are written out node by node. What constructors decide is in one expression that makes the network
of its parts; so the code that searches, builds and reads configuration stays away.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import torch

from ..cell import Cell
from ..common.atomic import write_text
from ..common.errors import UserError
from ..operations import OPERATIONS
from .expressions import Expressions
from .layout import laid_out
from .sources import INSTEAD, Sources
from .subject import Subject

HEAD = '''"""The network {name}, found with ATLDAS: one file, which needs PyTorch and nothing else.

    import safetensors.torch, torch
    from {module} import network
    model = network()
    model.load_state_dict(safetensors.torch.load_file("model.safetensors"))  # of `atldas train`
    model.eval()
    output = model(torch.rand({shape}))

A part's name in the state dict is its name here. Dropped paths, which only a training has, are left out.{choices}
"""

from __future__ import annotations

'''

PART = '''class Part(nn.Module):
    """A module made of named parts: modules, parameters, buffers and plain settings."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)'''


def write_python(subject: Subject, path: Path) -> str:
    """Write the file; returns what was checked, in words.

    Raises:
        UserError: the network's code cannot be written as one text, or the text gives other outputs.
    """
    text = python_text(subject, path.stem)
    _check(text, subject)
    write_text(path, text)
    return "its output equals the network's to the bit, with the same state dict"


def python_text(subject: Subject, module: str) -> str:
    """The file's text; `module`: its name as a Python module."""
    network = subject.network
    classes = {type(part) for part in network.modules() if not type(part).__module__.startswith("torch.")}
    operations = sorted({e.operation for cell in network.modules() if isinstance(cell, Cell)
                         for _, e in cell.genotype.edges()})  # fmt: skip
    owners = [*classes, *(OPERATIONS[name] for name in operations)]
    sources = Sources(frozenset({"atldas", *(owner.__module__.partition(".")[0] for owner in owners)}))
    sources.imports |= {"import torch", "from torch import nn"}
    sources.definitions["Part"] = PART
    if operations:
        entries = [f'    "{name}": {sources.add_operation(name)},' for name in operations]
        sources.definitions["OPERATIONS"] = "\n".join(
            ["# name -> (channels, stride) -> module", "OPERATIONS = {", *entries, "}"]
        )
    whole = laid_out(Expressions(sources).of(network, ""), "    return ")
    shape = ", ".join(map(str, subject.input_shape))
    choices = "".join(f"\n    {name}: {option}" for name, option in subject.genotype.choices.items())
    head = HEAD.format(
        name=subject.genotype.name, module=module, shape=shape, choices=choices and f"\n\nChosen:{choices}"
    )
    made = f'def network() -> nn.Module:\n    """The network, with random weights."""\n{whole}'
    return (
        head
        + "\n".join(_sorted(sources.imports))
        + "\n\n\n"
        + "\n\n\n".join([*_grouped(sources.definitions), made])
        + "\n"
    )


def _sorted(imports: set[str]) -> list[str]:
    """One line for each module, the standard library's first."""
    names: dict[str, list[str]] = {}
    for line in imports:
        module, imported = re.fullmatch(r"(?:from (\S+) )?import (.+)", line).groups()  # type: ignore[union-attr]
        names.setdefault(module or "", []).append(imported)
    lines = [f"import {name}" for name in names.pop("", [])]
    lines += [f"from {module} import {', '.join(sorted(found))}" for module, found in names.items()]
    standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    others = [line for line in lines if line not in standard]

    def order(line: str) -> tuple[bool, str]:
        return line.startswith("from"), line

    gap = [""] if standard and others else []
    return [*sorted(standard, key=order), *gap, *sorted(others, key=order)]


def _grouped(definitions: dict[str, str]) -> list[str]:
    """Constants of one line, which stand together, and the other definitions."""
    lines = [text for text in definitions.values() if "\n" not in text]
    return [*(["\n".join(lines)] if lines else []), *(text for text in definitions.values() if "\n" in text)]


def _check(text: str, subject: Subject) -> None:
    """Run the text and compare.

    Raises:
        UserError: another state dict, or another output.
    """
    module = types.ModuleType("exported_network")
    sys.modules[module.__name__] = module  # dataclasses look there
    try:
        exec(compile(text, "exported network", "exec"), vars(module))
        copy = module.network().eval()
        expected = subject.network.state_dict()
        if list(copy.state_dict()) != list(expected):
            raise UserError(f"the Python text has another state dict than the network; {INSTEAD}")
        copy.load_state_dict(expected)
        inputs = subject.example((2, *subject.input_shape[1:]))
        with torch.no_grad():
            same = torch.equal(copy(inputs), subject.network(inputs))
    except (NameError, AttributeError, TypeError, RuntimeError) as error:
        raise UserError(f"the network's code does not run outside its package ({error}); {INSTEAD}") from error
    finally:
        del sys.modules[module.__name__]
    if not same:
        raise UserError(f"the Python text gives another output than the network; {INSTEAD}")
