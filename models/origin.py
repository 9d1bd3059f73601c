"""Say what results come from, in digests of specifications and of code."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from models.variant import Cell, Run, Shared


def of_json(content: object) -> str:
    """Return a short digest of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def of_files(files: Iterable[Path | str]) -> str:
    """Return a digest of the contents of files; a run has that of its code (models/training)."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def specification(spec: Run | Cell) -> str:
    """Return a digest of what all runs of a cell have in common."""
    common = spec.model_dump(mode="json", include=set(Shared.model_fields))
    times = spec.times if isinstance(spec, Cell) else spec.epochs // spec.budget
    return of_json([common, times, spec.start and [spec.start.variant, spec.start.depth]])


def measured(expected: str, folder: Path, runs: Iterable[Path]) -> dict:
    """Return the content of measured.json: what was measured, of which runs in a study's folder."""
    specs = {os.path.relpath(run, folder): of_files([run / "run.json"]) for run in runs}
    return {"expected": expected, "runs": specs}
