"""Train runs side by side, as the lanes of one network (models/network.py).

The runs of a stack have the same network, budget and data. They differ in seed and learning rate.
Small networks cost a processor more overhead than arithmetic, and lanes share the overhead. A stack
repeats bit by bit on one machine; a run alone agrees with it up to rounding.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.augment import crop_and_flip
from models.data.prepare import Dataset
from models.initialise import build
from models.layers import Noise
from models.network import Network
from models.streams import generator
from models.training.device import Graphed
from models.training.evaluate import Record
from models.training.loop import batches, crops
from models.training.optimiser import Optimiser, lr_factor
from models.variant import Run

State = dict[str, Tensor]  # a state dict


def join(states: Sequence[State]) -> State:
    """Return the state of a network of lanes from the states of single networks."""
    pairs = {name: [state[name] for state in states] for name in states[0]}
    # BatchNorm counts its batches in a number, which is the same for all lanes.
    return {name: torch.cat(each) if each[0].ndim else each[0] for name, each in pairs.items()}


def split(state: State, lanes: int) -> list[State]:
    """Return the states of single networks from that of a network of lanes, as views."""
    parts = {
        name: value.chunk(lanes) if value.ndim else [value] * lanes for name, value in state.items()
    }
    return [{name: each[k] for name, each in parts.items()} for k in range(lanes)]


class Stack:
    """Runs in training. `trained` holds the weights that the runs' networks grow from, if any."""

    def __init__(self, runs: Sequence[Run], data: Dataset, trained: Sequence[State] = ()):
        self.runs, self.data = runs, data
        run, lanes, inputs = runs[0], len(runs), data.train_inputs
        self.name = f"{run.variant} {run.depth}, {run.budget} epochs, {lanes} lanes"
        self.done, self.total = 0, run.train.total_steps(run.epochs, len(inputs))
        starts = trained or [None] * lanes
        built = [build(each, data, start) for each, start in zip(runs, starts, strict=True)]
        self.network = Network(
            run.factors, run.depth, run.width, inputs.shape[1:], data.classes, lanes
        ).to(inputs.device, memory_format=memory_format(run, inputs.device))
        self.network.load_state_dict(join([network.state_dict() for network in built]))
        self.network.train()
        # With a frozen start, only the blocks that it lacks are trained.
        inherited = trained[0] if run.frozen and trained else {}
        for name, weight in self.network.named_parameters():
            weight.requires_grad_(name not in inherited)
        self.parameters = [weight for weight in self.network.parameters() if weight.requires_grad]
        # The weights of a lane are views of the network's, so that a lane has its own optimiser.
        self.optimisers = [
            Optimiser([weight.detach().chunk(lanes)[k] for weight in self.parameters], each)
            for k, each in enumerate(runs)
        ]
        self.draws = [generator(each.seed, "noise", inputs.device) for each in runs]
        for module in self.network.modules():
            if isinstance(module, Noise):
                module.generators = self.draws
        # Sums since the last record. They are tensors, because reading a number stops a GPU.
        self.losses, self.wrong = torch.zeros(2, lanes, device=inputs.device)
        self.recorded = 0  # the step of the last record
        self.histories: list[list[Record]] = [[] for _ in runs]
        self.update = Graphed(self.change, self.draws) if inputs.is_cuda else self.change
        self.feed = self.batches()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images (B, K * C, H, W) and classes (B, K) of the steps that are left."""
        data, train, device = self.data, self.runs[0].train, self.data.train_inputs.device
        examples, _, *size = data.train_inputs.shape
        layout = memory_format(self.runs[0], device)
        orders = zip(*(batches(run, examples, device) for run in self.runs), strict=True)
        drawn = zip(*(crops(run, examples, size, device) for run in self.runs), strict=True)
        augmented = islice(drawn, self.done, None) if train.augmentation != "none" else None
        for order in islice(orders, self.done, None):
            indices = torch.stack(order, 1)
            x = data.train_inputs[indices]  # (B, K, C, H, W)
            if augmented:
                here = torch.stack(next(augmented), 1).flatten(0, 1)
                x = crop_and_flip(x.flatten(0, 1), here).unflatten(0, indices.shape)
            x = x.flatten(1, 2).contiguous(memory_format=layout)
            yield x, data.train_targets[indices]

    def change(self, x: Tensor, y: Tensor, *lrs: float | Tensor) -> None:
        """Change the weights of each lane once, and add to the sums."""
        bfloat16 = x.is_cuda and self.runs[0].train.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
            logits = self.network(x).unflatten(1, (len(lrs), -1)).flatten(0, 1)
            losses = F.cross_entropy(logits, y.flatten(), reduction="none").view_as(y).mean(0)
        if self.parameters:  # if a whole network is frozen, it stays as it is
            losses.sum().backward()
            gradients = [weight.grad.chunk(len(lrs)) for weight in self.parameters]
            for k, (optimiser, lr) in enumerate(zip(self.optimisers, lrs, strict=True)):
                optimiser.step([parts[k] for parts in gradients], lr)
            for weight in self.parameters:
                weight.grad = None
        self.losses.add_(losses.detach())
        self.wrong.add_((logits.detach().argmax(1).view_as(y) != y).sum(0))

    def step(self) -> None:
        """Take one step in all lanes."""
        factor = lr_factor(self.done, self.total, self.runs[0].train)
        self.update(*next(self.feed), *[run.lr * factor for run in self.runs])
        self.done += 1

    def alive(self) -> bool:
        """Return whether a lane has a finite history."""
        return any(not history or history[-1].finite() for history in self.histories)

    def record(self) -> None:
        """Add a row to each finite history: the means over the steps since the row before."""
        since = self.done - self.recorded
        self.recorded = self.done
        train, factor = self.runs[0].train, lr_factor(self.done - 1, self.total, self.runs[0].train)
        epoch = (self.done - 1) // (self.total // self.runs[0].epochs) + 1
        sums = zip(self.losses.tolist(), self.wrong.tolist(), strict=True)
        for run, history, (loss, wrong) in zip(self.runs, self.histories, sums, strict=True):
            if not history or history[-1].finite():
                loss, error = loss / since, wrong / (since * train.batch_size)
                history.append(Record(epoch, self.done, run.lr * factor, loss, error))
        self.losses.zero_(), self.wrong.zero_()

    def weights(self) -> list[State]:
        """Return copies of each lane's weights on the CPU; a file keeps all lanes of a view."""
        state = {name: value.cpu() for name, value in self.network.state_dict().items()}
        lanes = split(state, len(self.runs))
        return [{name: value.clone() for name, value in lane.items()} for lane in lanes]

    def state(self) -> dict:
        """Return the whole state of training, on the CPU."""
        return {
            "done": self.done,
            "network": {name: value.cpu() for name, value in self.network.state_dict().items()},
            "optimisers": [[each.cpu() for each in lane.state()] for lane in self.optimisers],
            "draws": [each.get_state() for each in self.draws],
            "losses": self.losses.cpu(),
            "wrong": self.wrong.cpu(),
            "recorded": self.recorded,
            "histories": [[list(row) for row in history] for history in self.histories],
        }

    def restore(self, state: dict) -> None:
        """Go on from a state; training then ends with the bits of one that never stopped."""
        self.network.load_state_dict(state["network"])
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            for tensor, value in zip(optimiser.state(), values, strict=True):
                tensor.copy_(value)
        for draws, value in zip(self.draws, state["draws"], strict=True):
            draws.set_state(value)
        self.losses.copy_(state["losses"])
        self.wrong.copy_(state["wrong"])
        self.done, self.recorded = state["done"], state["recorded"]
        self.histories = [[Record(*row) for row in history] for history in state["histories"]]
        self.feed = self.batches()


def memory_format(run: Run, device: torch.device) -> torch.memory_format:
    """Return the faster layout: a GPU computes float32 faster on contiguous tensors."""
    contiguous = device.type == "cuda" and run.train.precision == "float32"
    return torch.contiguous_format if contiguous else torch.channels_last
