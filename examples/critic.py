"""What adversarial losses share: the weights of their terms, and a step in which the critic learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of a loss beside L1 or L2, whose weight is 1."""

    perceptual: float = 0.0
    adversarial: float = 0.0


def teach(critic: nn.Module, optimizer: Optimizer, real: Tensor, fake: Tensor) -> None:
    """Make one step with the hinge loss, after which the critic tells real images from fake ones better."""
    loss = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
