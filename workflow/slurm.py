"""What Snakemake's Slurm plugin lacks: patience with a controller that does not answer."""

import snakemake_executor_plugin_slurm as plugin


def outlast_outages() -> None:
    """A question that Slurm does not answer is asked again later.

    Version 2.8.0 of the plugin takes no answer for an answer without jobs, forgets them all, and
    waits for ever for the next to end.
    """
    ask = plugin.query_job_status

    async def patient(command, logger):
        states, seconds = await ask(command, logger)
        return ({}, 0.0) if states is None else (states, seconds)

    plugin.query_job_status = patient
