"""The random numbers of a run's purposes have nothing in common."""

import torch

from models.streams import PURPOSES, generator


def test_no_two_purposes_or_seeds_draw_the_same_numbers() -> None:
    drawn = {
        (seed, purpose): torch.randint(2**31, (100,), generator=generator(seed, purpose))
        for seed in (0, 1, 100)
        for purpose in PURPOSES
    }
    values = torch.cat(list(drawn.values()))
    assert len(values.unique()) == len(values)
    again = torch.randint(2**31, (100,), generator=generator(1, "order"))
    assert torch.equal(again, drawn[1, "order"])
