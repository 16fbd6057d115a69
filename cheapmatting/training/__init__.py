"""The training loop, losses, optimizers and validation."""
