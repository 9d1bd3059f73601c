"""Where the cells and runs of a study are, relative to its results."""


def cell_place(variant: str, depth: int) -> str:
    """Return where a cell is, below the folders of runs, of tuning runs and of cells."""
    return f"{variant}/depth{depth}"


def run_folder(cell: str, budget: int, seed: int) -> str:
    """Return the folder of a run of a cell, relative to the results of a study."""
    return f"runs/{cell}/budget{budget}/seed{seed}"


def tuning_folder(cell: str, budget: int, seed: int, lr: float) -> str:
    """Return the folder of a run that tries a learning rate, relative to the results."""
    return f"tuning/{cell}/budget{budget}/seed{seed}/lr{lr:g}"
