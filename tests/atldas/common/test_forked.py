"""Work in several processes: order, what is inherited, what is raised, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from atldas.common.errors import UserError
from atldas.common.forked import in_processes


def test_results_come_in_the_order_of_the_items_from_other_processes() -> None:
    offset = torch.tensor(100)  # the work refers to it without being copied
    found = list(in_processes(lambda item: (item + int(offset), os.getpid()), range(12), 2))
    assert [value for value, _ in found] == list(range(100, 112))
    assert os.getpid() not in {process for _, process in found}


def test_one_job_is_this_process() -> None:
    assert list(in_processes(lambda item: os.getpid(), [1, 2], 1)) == [os.getpid()] * 2


def test_each_process_has_one_thread() -> None:
    assert set(in_processes(lambda item: torch.get_num_threads(), [1, 2, 3], 2)) == {1}


def test_an_exception_of_the_work_is_raised_here() -> None:
    with pytest.raises(UserError, match="no good: 2"):
        list(in_processes(_refuse_two, [1, 2, 3], 2))


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(UserError, match=r"a process died; .* use fewer jobs"):
        list(in_processes(lambda item: os._exit(1), [1, 2], 2))


def _refuse_two(item: int) -> int:
    if item == 2:
        raise UserError(f"no good: {item}")
    return item


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from atldas.common.forked import in_processes
def work(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    if len(list(Path(sys.argv[1]).iterdir())) == 2:
        os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(0.5)
list(in_processes(work, range(100), 2))
"""
    status = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode
    assert status == -signal.SIGKILL
    processes = [int(path.name) for path in tmp_path.iterdir()]
    for _ in range(200):
        if not any(Path(f"/proc/{process}").exists() for process in processes):
            return
        time.sleep(0.1)
    pytest.fail(f"{processes} are still there")


def test_a_search_in_several_processes_runs_attached_to_another(tmp_path: Path) -> None:
    """Standard input is being read by a thread when the processes are forked."""
    code = """
import threading
from atldas.attached import end_with_standard_input
from atldas.common.forked import in_processes
threading.Thread(target=end_with_standard_input, daemon=True).start()
print(sum(in_processes(abs, [1, 2, 3], 2)), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"6\n"
