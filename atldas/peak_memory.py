"""How many bytes of activations a network needs at once, from shapes alone."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .cost import on_meta
from .genotype import Genotype
from .supernet import Supernet


def peak_memory(module: nn.Module, *shapes: Sequence[int]) -> int:
    """Bytes of activations alive at once, at most, in a forward pass without gradient over inputs of the given shapes.

    Counts the inputs and every tensor from its making until nothing refers to it, as PyTorch frees it when it runs the
    network operation by operation. Parameters, and what a kernel needs inside, are left out. Works on shapes alone.
    """
    return _peak(on_meta(module), shapes)


class PeakMemory:
    """`peak_memory` of a supernet's children, each counted once.

    Args:
        supernet: stays as it is: a copy without memory is run.
        input_shape: [1, C, H, W].
    """

    def __init__(self, supernet: Supernet, input_shape: Sequence[int]) -> None:
        self._meta = supernet.on_meta()
        self._shape = tuple(input_shape)
        self._known: dict[Genotype, int] = {}

    def of(self, child: Genotype) -> int:
        """Bytes."""
        if child not in self._known:
            self._meta.select(child)
            self._known[child] = _peak(self._meta, [self._shape])
        return self._known[child]


def _peak(meta: nn.Module, shapes: Sequence[Sequence[int]]) -> int:
    with torch.no_grad(), _LiveBytes() as live:
        inputs = [torch.empty(tuple(shape), device="meta") for shape in shapes]
        meta(*inputs)
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Bytes of the tensors made within it that are still alive: `now`, and `peak`, the most so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            tensor.untyped_storage() for tensor in _tensors((args, kwargs))
        }  # a view or an in-place result of these
        output = func(*args, **(kwargs or {}))
        for tensor in _tensors(output):
            storage = tensor.untyped_storage()
            if storage not in self._known and storage not in given:
                self._known.add(storage)
                self._grow(storage.nbytes())
                weakref.finalize(storage, self._grow, -storage.nbytes())
        return output

    def _grow(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
