"""Independent random numbers for each purpose, from the one seed of a run."""

import numpy as np
import torch

PURPOSES = ("weights", "order", "augmentation", "noise", "measuring", "noise of measuring")


def number(seed: int, purpose: str) -> int:
    """Return the seed for one of PURPOSES: draws from equal seeds would share bits."""
    sequence = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),))
    return int(sequence.generate_state(1, np.uint64)[0])


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator of these numbers."""
    return torch.Generator(device).manual_seed(number(seed, purpose))
