"""ATLDAS: differentiable architecture search whose network topology is learned explicitly."""

__version__ = "0.8.0"
