"""Independent random numbers for each purpose, from the one seed of a run."""

import numpy as np
import torch

PURPOSES = ("weights", "order", "augmentation", "noise", "measuring", "noise of measuring")


def number(seed: int, purpose: str) -> int:
    """Return the seed of the numbers that a run draws for one of PURPOSES.

    If weights and order were drawn from equal seeds, they would share bits.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),))
    return int(sequence.generate_state(1, np.uint64)[0])


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator of these numbers."""
    return torch.Generator(device).manual_seed(number(seed, purpose))
