"""Make Snakemake's Slurm plugin wait for a controller that does not answer."""

import snakemake_executor_plugin_slurm as plugin


def outlast_outages() -> None:
    """Ask again later when Slurm does not answer a question about jobs.

    Version 2.8.0 of the plugin takes a missing answer for an empty one. It then forgets all jobs
    and waits for them for ever.
    """
    ask = plugin.query_job_status

    async def patient(command, logger):
        states, seconds = await ask(command, logger)
        return ({}, 0.0) if states is None else (states, seconds)

    plugin.query_job_status = patient
