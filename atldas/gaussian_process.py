"""A Gaussian process over children: what is known of all of them once a few have been measured, and how surely.

A measurement of child c in repetition r is taken as

    y(c, r) = features(c) w + main effects(c) + pairs(c) + interactions of four(c) + offset(r) + noise,

where the effects are those of the options that c chooses. All terms are Gaussian, so their sum has a kernel: the
share s of choices in which two children agree gives the kernels s, s^2 and s^4 (Rasmussen and Williams, 2006, chapter
2). The variances of the six terms maximise the marginal likelihood, with a weak prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PRIOR_SCALE = 0.3  # variances are expected about here, in units of the variance of what was measured
PRIOR_WEIGHT = 0.05  # on the squared logarithm of variance / PRIOR_SCALE
BOUNDS = (-9.0, 4.0)  # of a variance's logarithm
JITTER = 1e-6
STARTS = ((0.3, 0.3, 0.3, 0.3, 0.3, 0.1), (1.0, 0.1, 0.1, 1.0, 0.3, 0.3))


class GaussianProcess:
    """Regression of measurements on children.

    Args:
        choices: 0 or 1, float64 [children, options]: what each child chooses.
        features: float64 [children, F], F of 1 or more: figures that may tell something about a child.
    """

    def __init__(self, choices: Tensor, features: Tensor) -> None:
        agreeing = choices @ choices.T / choices.sum(dim=1).max()
        features = (features - features.mean(dim=0)) / features.std(dim=0).clamp(min=1e-9)
        linear = features @ features.T / features.shape[1]
        self._kernels = torch.stack([agreeing, agreeing**2, agreeing**4, linear])  # [4, children, children]

    def fit(self, children: Sequence[int], repeats: Sequence[int], values: Sequence[float]) -> GaussianProcess:
        """Take in all measurements: of which child, in which repetition, and its value."""
        self._measured = torch.tensor(children)
        repeat = torch.tensor(repeats)
        y = torch.tensor(values, dtype=torch.float64)
        self._mean, self._scale = y.mean(), y.std().clamp(min=1e-9)
        y = (y - self._mean) / self._scale
        same_repeat = (repeat[:, None] == repeat[None]).double()
        parts = self._kernels[:, self._measured][:, :, self._measured]
        parts = torch.stack([*parts, same_repeat, torch.eye(len(y), dtype=torch.float64)])  # [6, m, m]
        self._variances = min((_most_likely(parts, y, start) for start in STARTS), key=lambda found: found[0])[1]
        self._factor = torch.linalg.cholesky(_covariance(parts, self._variances))
        self._weights = torch.cholesky_solve(y[:, None], self._factor)[:, 0]
        return self

    def predict(self) -> tuple[Tensor, Tensor]:
        """The mean and the deviation of every child's value, float64 [children]: without offset and noise."""
        own = self._variances[:4, None, None]
        across = (own * self._kernels[:, :, self._measured]).sum(dim=0) + 1.0  # [children, m]; 1: the constant
        alone = (own[..., 0] * self._kernels.diagonal(dim1=1, dim2=2)).sum(dim=0) + 1.0  # [children]
        mean = across @ self._weights * self._scale + self._mean
        explained = (across * torch.cholesky_solve(across.T, self._factor).T).sum(dim=1)
        return mean, (alone - explained).clamp(min=1e-9).sqrt() * self._scale


def _covariance(parts: Tensor, variances: Tensor) -> Tensor:
    total = (variances[:, None, None] * parts).sum(dim=0)
    return total + 1.0 + JITTER * torch.eye(len(total), dtype=torch.float64)


def _most_likely(parts: Tensor, y: Tensor, start: Sequence[float]) -> tuple[float, Tensor]:
    """The negative log-posterior, and the variances [parts] at which it is least."""
    logs = torch.tensor(start, dtype=torch.float64).log().requires_grad_()
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def negative_log_posterior() -> Tensor:
        factor = torch.linalg.cholesky(_covariance(parts, logs.clamp(*BOUNDS).exp()))
        fit = y @ torch.cholesky_solve(y[:, None], factor)[:, 0] / 2
        prior = PRIOR_WEIGHT * (logs - math.log(PRIOR_SCALE)).square().sum()
        value: Tensor = fit + factor.diagonal().log().sum() + prior
        return value

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = negative_log_posterior()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return float(negative_log_posterior()), logs.clamp(*BOUNDS).exp()
