"""`cheapmatting doctor`: what this machine has to compute with, what is missing, and whether it computes rightly."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from atldas import __version__

from .images import read_image
from .inference.engines.choice import ENGINES, fault
from .inference.engines.onnx_runtime import GPU_PACKAGES
from .inference.self_test import Outcome, first_line, self_test, ways
from .model.lookup import DEFAULT_WEIGHTS
from .model.weights import load
from .pipeline import example
from .trimap import read_trimap

PHOTOGRAPH = "astronaut"
# PyTorch's names of instruction sets that decide what is fast.
INSTRUCTIONS = {
    "avx2": "AVX2", "avx512_f": "AVX-512", "avx512_vnni": "AVX512-VNNI", "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16", "amx_int8": "AMX-INT8", "amx_fp16": "AMX-FP16", "neon": "NEON", "sve": "SVE",
    "bf16": "BF16",
}  # fmt: skip
# Distributions that hold the same package as another one.
INSTEAD = {"onnxruntime": GPU_PACKAGES}
SLOW = "tensorrt"
EXAMPLES = """examples:
  cheapmatting doctor
  cheapmatting doctor --json | python -m json.tool
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object")


def run(options: argparse.Namespace) -> int:
    """The command itself; 1 if an engine does not load or a self-test fails."""
    found: dict[str, Any] = {"version": __version__, "machine": machine(), "engines": engines(), "extras": extras()}
    loaded = [engine["name"] for engine in found["engines"] if engine["version"]]
    tests = [way for way in ways(loaded) if way.place != SLOW]
    if not options.json:
        print("\n".join(described(found)), flush=True)
    network = load(DEFAULT_WEIGHTS).eval()
    image, trimap = read_image(example(f"{PHOTOGRAPH}.jpg")), read_trimap(example(f"{PHOTOGRAPH}_trimap.png"))
    outcomes = []
    for outcome in self_test(tests, network, image, trimap):
        outcomes.append(outcome)
        if not options.json:
            print(tested(outcome), flush=True)
    failed = [outcome for outcome in outcomes if outcome.fault]
    good = not failed and not any(engine["fault"] for engine in found["engines"])
    if options.json:
        found["self_test"] = [_plain(outcome) for outcome in outcomes]
        found["good"] = good
        print(json.dumps(found, indent=2))
    else:
        print(f"{len(failed)} of {len(outcomes)} fail" if failed else f"all {len(outcomes)} are right")
    return 0 if good else 1


def _plain(outcome: Outcome) -> dict[str, Any]:
    figures = outcome._asdict()
    return {**figures.pop("way")._asdict(), **figures}


def machine() -> dict[str, Any]:
    """The processor, its instructions, memory, and the accelerators that PyTorch has."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # new in PyTorch 2.10
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": capabilities.get("cpu_name") or _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": [name for key, name in INSTRUCTIONS.items() if capabilities.get(key)],
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None,
        "cuda": [_cuda_device(number) for number in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
        "unused": unused_gpu(shutil.which("nvidia-smi") is not None),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def _cuda_device(number: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(number)
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
    }


def unused_gpu(has_driver: bool) -> str:
    """Why PyTorch does not use an NVIDIA GPU whose driver is there; empty if it does, or there is none."""
    if torch.cuda.is_available() or not has_driver:
        return ""
    if torch.version.cuda is None:
        return "an NVIDIA driver is there, but this PyTorch is built without CUDA: see pytorch.org/get-started/locally"
    return (
        f"an NVIDIA driver is there, but PyTorch, built for CUDA {torch.version.cuda}, finds no device: see nvidia-smi"
    )


def engines() -> list[dict[str, Any]]:
    """Each engine: its version, where it computes and in which precisions, or why not."""
    found = []
    for name, kind in ENGINES.items():
        entry: dict[str, Any] = {"name": name, "version": None, "places": {}, "fault": "", "mend": ""}
        if find_spec(kind.package) is None:
            entry["mend"] = f"pip install 'cheapmatting[{kind.extra}]'"
        else:
            try:
                version = importlib.import_module(kind.package).__version__
                entry["places"] = _places(name)
                entry["version"] = version
            except Exception as error:  # whatever a broken package raises
                entry["fault"] = f"does not load: {first_line(error)}"
        found.append(entry)
    return found


def _places(name: str) -> dict[str, list[str]]:
    kind = ENGINES[name]
    return {
        place: [precision for precision in kind.places[place].precisions if not fault(name, place, precision)]
        for place in kind.here()
    }


def extras() -> dict[str, dict[str, Any]]:
    """Each extra that this package names: the versions of what it brings, and what is missing."""
    found: dict[str, dict[str, Any]] = {}
    for line in metadata.requires("cheapmatting") or []:
        named = re.match(r"([\w.-]+)[^;]*;.*\bextra\s*==\s*['\"]([\w.-]+)['\"]", line)
        if named is None:
            continue
        extra = found.setdefault(named[2], {"versions": {}, "missing": [], "mend": ""})
        for name in (named[1], *INSTEAD.get(named[1], ())):
            if (version := _version(name)) is not None:
                extra["versions"][name] = version
                break
        else:
            extra["missing"].append(named[1])
            extra["mend"] = f"pip install 'cheapmatting[{named[2]}]'"
    return found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def described(found: dict[str, Any]) -> list[str]:
    """The findings as lines."""
    here = found["machine"]
    memory = "" if here["memory"] is None else f", {here['memory'] / 2**30:.1f} GiB"
    lines = [
        f"cheapmatting {found['version']}, Python {here['python']}, {here['system']}",
        "",
        f"processor: {here['processor']}, {here['cores']} cores, {here['threads']} threads{memory}",
        f"instructions: {', '.join(here['instructions']) or 'unknown'}",
    ]
    for number, gpu in enumerate(here["cuda"]):
        lines.append(
            f"cuda:{number}: {gpu['name']}, {gpu['memory'] / 2**30:.1f} GiB, compute capability {gpu['capability']}"
        )
    if not here["cuda"]:
        lines.append(f"cuda: none{', ' + here['unused'] if here['unused'] else ''}")
    lines += ["mps: there"] * here["mps"] + ["", "engines:"]
    for engine in found["engines"]:
        places = "; ".join(f"{place}: {', '.join(names)}" for place, names in engine["places"].items())
        state = engine["version"] or ("broken" if engine["fault"] else "absent")
        lines.append(f"  {engine['name']:<12} {state}  {places or engine['mend'] or engine['fault']}")
    lines += ["", "extras:"]
    for name, extra in found["extras"].items():
        there = ", ".join(f"{package} {version}" for package, version in extra["versions"].items())
        absent = f"absent: {', '.join(extra['missing'])}; {extra['mend']}" if extra["missing"] else ""
        lines.append(f"  {name:<12} {'; '.join(part for part in (there, absent) if part)}")
    slow = any(SLOW in engine["places"] for engine in found["engines"])
    lines += ["", f"self-test: {DEFAULT_WEIGHTS} on {PHOTOGRAPH}.jpg; errors in levels of 255"]
    return lines + [f"  {SLOW} is left out: it compiles for minutes"] * slow


def tested(outcome: Outcome) -> str:
    """An outcome as a line."""
    way = f"  {outcome.way.engine:<12} {outcome.way.place:<9} {outcome.way.precision}"
    if outcome.seconds is None:
        return f"{way}  FAILS: {outcome.fault}"
    line = f"{way}  {outcome.seconds:6.2f} s  error {outcome.mean:.4f} on average, {outcome.largest:.4f} at most"
    return f"{line}  FAILS: {outcome.fault}" if outcome.fault else line
