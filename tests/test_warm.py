"""Test that a forked job does the same as a job that a shell starts."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import QUICK, command, copy_project, snakemake
from test_kill import start
from test_resume import OUTPUTS, small_run

from models.training.state import TOLD_TO_END
from models.variant import to_json
from workflow.warm import COMMAND, MODULES, Child, Helper


@pytest.fixture
def helper() -> Iterator[Helper]:
    helper = Helper()
    yield helper
    helper.end()


def fork(helper: Helper, arguments: list, log: Path) -> Child | None:
    words = list(map(str, arguments))
    return helper.fork("models.training.train", words, str(log), dict(os.environ))


def test_a_fork_leaves_the_bytes_that_a_new_process_leaves(helper: Helper, tmp_path: Path) -> None:
    """Fork twice, because the second job must not see the first. The network draws noise."""
    run, options = small_run(tmp_path)
    arguments = ["--spec", to_json(run), *options]
    plain = command("models.training.train", *arguments, "--out", tmp_path / "plain")
    assert plain.returncode == 0, plain.stderr
    for name in ("first", "second"):
        log = tmp_path / f"{name}.log"
        log.write_text("an earlier attempt\n" * 1000)
        child = fork(helper, [*arguments, "--out", tmp_path / name], log)
        assert child.wait() == 0, log.read_text()
        for file in OUTPUTS:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
        assert "earlier" not in log.read_text()
        assert "400/400" in log.read_text()


def test_the_exit_status_reaches_snakemake(helper: Helper, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wrong = fork(helper, ["--spec", "{}", "--out", tmp_path], log)
    assert wrong.wait() == 1
    assert log.read_text() == "error: --spec: dataset is missing: name of the data set\n"
    assert fork(helper, ["--spec"], log).wait() == 2
    assert "usage: train.py" in log.read_text()

    run, options = small_run(tmp_path)
    for number, status in ((signal.SIGKILL, -9), (signal.SIGTERM, TOLD_TO_END)):
        folder = tmp_path / number.name
        job = ["--spec", to_json(run), "--out", folder, *options, "--save-every", 0]
        child = fork(helper, job, log)
        assert psutil.Process(child.pid).is_running()
        while not (folder / "resume.pt").exists():
            time.sleep(0.01)
        os.kill(child.pid, number)
        assert child.wait() == status


def test_ctrl_c_during_the_import_of_pytorch_ends_the_waiting_job(
    helper: Helper, tmp_path: Path
) -> None:
    helper.start()
    os.kill(helper.process.pid, signal.SIGINT)
    run, options = small_run(tmp_path)
    log = tmp_path / "log"
    child = fork(helper, ["--spec", to_json(run), "--out", tmp_path, *options], log)
    assert child.wait() == 128 + signal.SIGINT
    assert not log.exists()


def test_without_a_helper_there_is_no_child(helper: Helper, tmp_path: Path) -> None:
    """Return None, so that Snakemake gives the command to a shell."""
    job = ["--spec", "{}", "--out", tmp_path]
    assert fork(helper, job, tmp_path / "log").wait() == 1
    assert fork(helper, ["x" * 2**16], tmp_path / "log") is None  # longer than a message may be
    helper.process.kill()
    helper.process.wait()
    assert fork(helper, job, tmp_path / "log") is None


def test_the_commands_of_many_jobs_are_forked_and_no_others(tmp_path: Path) -> None:
    dry = snakemake(copy_project(tmp_path), *QUICK, "--dry-run", "--printshellcmds").stdout
    commands = re.findall(r"^Shell command: (.*?)\n\s*\n", dry, re.MULTILINE | re.DOTALL)
    commands = [f"set -euo pipefail;  {command}".strip() for command in commands]  # by Snakemake
    forked = [match[1] for command in commands if (match := COMMAND.fullmatch(command))]
    assert [forked.count(module) for module in MODULES] == [16, 33, 8]
    assert len(commands) > 60
    ours = next(command for command in commands if "models.training.train" in command)
    for other in (ours.replace("python", "source activate x; python"), f"{ours}; ls", f"{ours} ls"):
        assert not COMMAND.fullmatch(other)


def test_ctrl_c_ends_everything_and_nothing_is_lost(tmp_path: Path) -> None:
    """Interrupt Snakemake, the helper and the trainings at once, as a terminal does."""
    folder = copy_project(tmp_path)
    config = folder / "workflow/config/quick.yaml"
    config.write_text(config.read_text().replace("batch_size: 100", "batch_size: 100, epochs: 300"))
    cell = "results/quick/tuning/plain/depth14"
    first = start(folder, f"{cell}/chosen.json", *QUICK)
    log = folder / "results/quick/logs/tune/plain/depth14.log"
    while not log.exists() or "it/s" not in log.read_text():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    group = psutil.Process(first.pid).children(recursive=True)
    assert [each for each in group if "workflow.warm" in each.cmdline()]
    os.killpg(first.pid, signal.SIGINT)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    assert "Traceback" not in said
    assert not psutil.wait_procs(group, timeout=20)[1]
    assert "told to end: saved after step" in log.read_text()
    saved = [path.name for path in (folder / cell).rglob("*") if path.is_file()]
    assert saved == ["resume.pt"]
