"""Snakemake that asks Slurm for the state of its jobs each second. The plugin waits ten seconds
longer after each answer without news, up to three minutes, and no option says otherwise."""

import asyncio
import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor


async def sleep(executor: Executor) -> None:
    await asyncio.sleep(1)


Executor.sleep = sleep
sys.exit(main())
