"""Test the project's own promises: its folders, one lock, clean lint, formatted code."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from conftest import ROOT, copy_project, snakemake
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from models.files import read_yaml

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = ROOT / "workflow/envs/requirements.txt"

TOP_LEVEL = {
    ".ci", ".gitattributes", ".github", ".gitignore", "LICENSE", "Makefile", "README.md",
    "Snakefile", "analysis", "environment.yml", "models", "pyproject.toml", "report", "tests",
    "workflow",
}  # fmt: skip
ALLOWED = {"CITATION.cff", "CHANGELOG.md"}


def test_the_top_level_is_exactly_that_of_the_design() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    names = {Path(line).parts[0] for line in listed if (ROOT / line).exists()}
    assert names - ALLOWED == TOP_LEVEL


def test_the_numbers_of_the_readme_are_printed_in_the_published_paper() -> None:
    answer = (ROOT / "README.md").read_text().split("## The answer\n")[1].split("\n## ")[0]
    values = json.loads((ROOT / "report/published/values.json").read_text())["values"]
    printed = " ".join(value["text"].replace("\u202f", "") for value in values)
    number = r"(?<![\w-])\d+(?:\.\d+)?(?!\w)"  # but not the 1 in MNIST-1D
    assert len(re.findall(number, answer)) > 10
    assert set(re.findall(number, answer)) <= set(re.findall(number, printed))


def test_badges_and_citation_are_true() -> None:
    least = PROJECT["requires-python"].removeprefix(">=")
    facts = [f"version {PROJECT['version']}", f"Python {least}+", f"licence {PROJECT['license']}"]
    badges = re.findall(r"!\[(.+?)\]\(https://img.shields.io/", (ROOT / "README.md").read_text())
    assert badges == facts
    assert read_yaml(ROOT / "CITATION.cff")["version"] == PROJECT["version"]


def locked() -> dict[str, str]:
    """Return the version of each package that the lock pins."""
    pins = [re.split("[#; ]", line)[0].split("==") for line in LOCK.read_text().splitlines()]
    return {canonicalize_name(pin[0]): pin[1] for pin in pins if len(pin) == 2}


def direct() -> list[Requirement]:
    """Return what the project and its tests ask for."""
    tests = PROJECT["optional-dependencies"]["test"]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *tests]]


def test_the_lock_pins_every_direct_dependency() -> None:
    for requirement in direct():
        version = locked()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_lock_installs_on_the_oldest_python_that_is_allowed() -> None:
    oldest = next(iter(SpecifierSet(PROJECT["requires-python"]))).version
    pins = locked()
    here = [each for each in metadata.distributions() if canonicalize_name(each.name) in pins]
    assert here
    for each in here:
        asked = SpecifierSet(each.metadata["Requires-Python"] or "")
        assert asked.contains(f"{oldest}.0"), f"{each.name} needs Python {asked}"


def test_environment_yml_uses_the_lock_and_an_allowed_python() -> None:
    python, _, pip = read_yaml(ROOT / "environment.yml")["dependencies"]
    assert pip == {"pip": [f"-r {LOCK.relative_to(ROOT)}"]}
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


def test_every_import_is_a_direct_dependency() -> None:
    """An import must not work only because another package happens to need the same one."""
    declared = {canonicalize_name(each.name) for each in direct()}
    other_names = {
        "ruamel": "ruamel.yaml", "pypandoc": "pypandoc-binary", "fontTools": "fonttools",
        "PIL": "pillow", "sklearn": "scikit-learn",
    }  # fmt: skip
    folders = ("models", "analysis", "report", "workflow", "tests")
    ours = {*folders, *(path.stem for path in (ROOT / "tests").glob("*.py"))}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE):
                if name not in ours and name not in sys.stdlib_module_names:
                    wanted = canonicalize_name(other_names.get(name, name))
                    assert wanted in declared, f"{path.name} imports {name}"


def test_every_file_is_short_enough_to_read() -> None:
    for folder in ("models", "analysis", "report", "workflow"):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.smk")]:
            assert len(path.read_text().splitlines()) <= 320, path


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
