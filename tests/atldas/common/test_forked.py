"""Work in several processes: order, what is inherited, what is raised, and a process that dies."""

from __future__ import annotations

import os

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
