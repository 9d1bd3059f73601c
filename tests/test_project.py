"""The project's own promises: one lock, clean lint, a formatted workflow."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, copy_project, snakemake
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

LOCK = ROOT / "workflow/envs/requirements.txt"
BENCH = ROOT / "workflow/envs/bench.txt"  # beside the lock, for `make bench` alone


def locked(*files: Path) -> dict[str, str]:
    lines = [re.split("[#;]", line)[0] for file in files for line in file.read_text().splitlines()]
    pins = [line.strip().split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pins}


def direct(*extras: str) -> list[Requirement]:
    """What the project and its optional groups ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [Requirement(text) for text in [*project["dependencies"], *optional]]


@pytest.mark.parametrize(("files", "extras"), [((LOCK,), ("test",)), ((LOCK, BENCH), ("bench",))])
def test_the_lock_pins_every_direct_dependency(
    files: tuple[Path, ...], extras: tuple[str, ...]
) -> None:
    pins = locked(*files)
    for requirement in direct(*extras):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_lock_of_benchmarks_adds_to_the_other_and_changes_nothing() -> None:
    assert "-r requirements.txt" in BENCH.read_text()
    assert not locked(LOCK).keys() & locked(BENCH).keys()


def test_the_lock_installs_on_the_oldest_python_that_is_allowed() -> None:
    """And not just on the one that made it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = next(iter(SpecifierSet(project["requires-python"]))).version
    pins = locked(LOCK)
    here = [each for each in metadata.distributions() if canonicalize_name(each.name) in pins]
    assert here
    for each in here:
        asked = SpecifierSet(each.metadata["Requires-Python"] or "")
        assert asked.contains(f"{oldest}.0"), f"{each.name} needs Python {asked}"


def test_environment_yml_uses_the_lock_and_an_allowed_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert pip == {"pip": [f"-r {LOCK.relative_to(ROOT)}"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.fullmatch(r"python=(\S+)", python)[1]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version)


def test_every_import_is_a_direct_dependency() -> None:
    """What the code imports is declared, not there by luck."""
    declared = {canonicalize_name(each.name) for each in direct("test", "bench")}
    other_names = {
        "yaml": "pyyaml", "pypandoc": "pypandoc-binary", "fontTools": "fonttools",
        "PIL": "pillow", "sklearn": "scikit-learn", "bs4": "beautifulsoup4",
    }  # fmt: skip
    folders = ("models", "analysis", "report", "workflow", "tests")
    ours = {*folders, *(path.stem for path in (ROOT / "tests").glob("*.py"))}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE):
                if name not in ours and name not in sys.stdlib_module_names:
                    wanted = canonicalize_name(other_names.get(name, name))
                    assert wanted in declared, f"{path.name} imports {name}"


def test_snakemake_lint_is_clean(tmp_path: Path) -> None:
    linted = snakemake(copy_project(tmp_path), "--lint")
    assert linted.returncode == 0, linted.stderr
    assert "Congratulations, your workflow is in a good condition!" in linted.stderr


def test_code_is_formatted_and_lints() -> None:
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "workflow/rules"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
