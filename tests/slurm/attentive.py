"""Run Snakemake and ask Slurm for the state of its jobs every second.

The plugin waits ten seconds longer after each answer without news, up to three minutes, and has no
option that changes this.
"""

import asyncio
import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor


async def sleep(executor: Executor) -> None:
    await asyncio.sleep(1)


Executor.sleep = sleep
sys.exit(main())
