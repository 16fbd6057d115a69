"""The process's settings, seen from inside a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(8):
        torch.ones(8 * 2**20)  # 32 MiB, 8192 pages
"""


def run(code: str, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_threads_spin_briefly_unless_somebody_said_otherwise() -> None:
    names = "os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT')"
    code = f"import os; from atldas.common.machine import prepare; prepare(); print({names})"
    assert run(code) == "None 20000"
    assert run(code, GOMP_SPINCOUNT="5") == "None 5"
    assert run(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE None"


def test_preparing_imports_no_torch() -> None:
    code = "import sys; from atldas.common.machine import prepare; prepare(); print('torch' in sys.modules)"
    assert run(code) == "False"
    code = "import sys; import cheapmatting.command, atldas.command; print('torch' in sys.modules)"
    assert run(code) == "False"  # else the settings would come too late


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator that is set is glibc's")
def test_freed_blocks_are_used_again() -> None:
    prepared = "from atldas.common.machine import prepare; prepare()\nimport torch" + FAULTS
    count = int(run(prepared + "work(); work(); before = faults(); work(); print(faults() - before)"))
    assert count < 100  # each page again each time would be 65,536


def test_what_is_made_without_collection_is_never_searched() -> None:
    code = """
import gc
from atldas.common.machine import without_collection
with without_collection():
    assert not gc.isenabled()
    made = [[] for _ in range(100_000)]
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
gc.disable()
with without_collection():
    pass
print(gc.isenabled())
"""
    assert run(code) == "True True\nFalse"
