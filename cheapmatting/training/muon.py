"""Muon (Jordan et al., 2024): SGD with momentum whose update of each matrix is made orthogonal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Newton-Schulz: x -> a x + b (x x^T) x + c (x x^T)^2 x drives all singular values towards 1, into 0.7..1.2. The
# coefficients are Jordan's (https://kellerjordan.github.io/posts/muon), chosen for the steepest slope at 0.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for the weights of convolutions and linear layers, AdamW for all other parameters.

    The weights of a convolution [out, in, k, k] are a matrix [out, in k k]. AdamW updates depthwise convolutions,
    norms, biases and slopes. Muon's steps are scaled to the size of AdamW's by 0.2 sqrt(max(rows, columns)) (Liu et
    al., "Muon is scalable for LLM training", 2025), so that both share one learning rate: two to three times a good one
    for AdamW alone. torch.optim.Muon takes only parameters of two dimensions, one at a time.

    Args:
        parameters: as for other optimizers.
        lr, weight_decay: of both.
        momentum: of the matrices.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.01, momentum: float = 0.95
    ) -> None:
        every = list(parameters)
        self.momentum = momentum
        matrices, rest = ([p for p in every if _is_matrix(p) == which] for which in (True, False))
        groups = [{"params": matrices}, {"params": rest}]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self.adam = torch.optim.AdamW([{"params": rest}], lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient.

        Raises:
            ValueError: a closure was given; the loss is evaluated by the training loop.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure")
        matrices, rest = self.param_groups
        for alike in _by_shape([p for p in matrices["params"] if p.grad is not None]):
            self._move(alike, matrices["lr"], matrices["weight_decay"])
        self.adam.param_groups[0].update(lr=rest["lr"], weight_decay=rest["weight_decay"])
        self.adam.step()

    def _move(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        """One step of matrices of one shape, as a batch, because they are many and small."""
        ahead = []
        for p in parameters:
            assert p.grad is not None
            if p not in self.state:
                self.state[p]["momentum"] = torch.zeros_like(p)
            average = self.state[p]["momentum"].lerp_(p.grad, 1 - self.momentum)
            ahead.append(p.grad.lerp(average, self.momentum).flatten(1))  # Nesterov's
        directions = orthogonal(torch.stack(ahead))  # [n, rows, columns]
        size = 0.2 * max(directions.shape[1:]) ** 0.5
        for p, direction in zip(parameters, directions, strict=True):
            p.mul_(1 - lr * weight_decay).add_(direction.view(p.shape), alpha=-lr * size)

    def state_dict(self) -> dict[str, Any]:
        """The state of both parts."""
        return {**super().state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "adam"})
        self.adam.load_state_dict(state_dict["adam"])


def orthogonal(matrices: Tensor) -> Tensor:
    """Near matrices with orthonormal rows or columns, by Newton-Schulz: float [n, rows, columns] -> float32.

    The singular values of the result are in 0.7..1.2; those that were under a thousandth of the norm are smaller.
    Computed in bfloat16.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).bfloat16()
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 1  # a depthwise convolution has one input


def _by_shape(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    shapes: dict[tuple[int, int], list[nn.Parameter]] = {}
    for p in parameters:
        shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
    return list(shapes.values())
