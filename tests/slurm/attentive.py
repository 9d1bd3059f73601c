"""Snakemake that asks Slurm for the state of its jobs each second. The plugin waits ten seconds
longer after each answer without news, up to three minutes, and no option says otherwise."""

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(executor: RemoteExecutor) -> None:
    await asyncio.sleep(1)


RemoteExecutor.sleep = sleep
sys.exit(main())
