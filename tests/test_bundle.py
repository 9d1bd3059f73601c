"""Pack the quick study, check the archive with the validator of its format, and render it."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import ROOT, command
from test_publish import words

from models.origin import of_files
from report.bundle import bundle
from report.paper import paper_of

CONTEXT = "https://w3id.org/ro/crate/1.3/context"  # what the validator asks the network for


@pytest.fixture(scope="module")
def archive(quick_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = shutil.copytree(quick_study.parent, tmp_path_factory.mktemp("bundle") / "results")
    return bundle(results / "quick")


def test_every_file_is_described(archive: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(archive).extractall(tmp_path)
    graph = json.loads((tmp_path / "ro-crate-metadata.json").read_text())["@graph"]
    sums = {each["@id"]: each["sha256"] for each in graph if "sha256" in each}
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert sums.keys() == names - {"ro-crate-metadata.json"}
    assert all(of_files([tmp_path / name]) == sums[name] for name in sums)
    runs = {
        str(path.relative_to(archive.parent)) for path in archive.parent.glob("runs/**/run.json")
    }
    assert runs
    assert runs <= names


def test_the_validator_of_ro_crate_accepts_it(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("rocrate_validator", reason="roc-validator is not installed")
    requests, urllib3 = map(pytest.importorskip, ("requests", "urllib3"))
    cache = pytest.importorskip("requests_cache")

    class Shipped(requests.adapters.BaseAdapter):
        """Answers with the copy of the format's context that the package rocrate has."""

        def send(self, request: object, **_: object) -> object:
            response = requests.Response()
            response.status_code, response.url, response.request = 200, request.url, request
            response.headers["Content-Type"] = "application/ld+json"
            context = io.BytesIO((files("rocrate") / "data/ro-crate.jsonld").read_bytes())
            response.raw = urllib3.HTTPResponse(context, status=200, preload_content=False)
            return response

        def close(self) -> None: ...

    with cache.CachedSession(str(tmp_path / "cache"), expire_after=-1) as session:
        session.mount("https://", Shipped())
        session.get(CONTEXT)
    zipfile.ZipFile(archive).extractall(tmp_path / "crate")
    validate = [Path(sys.executable).parent / "rocrate-validator", "--no-interactive", "validate"]
    validate += ["--offline", "--cache-path", tmp_path / "cache", tmp_path / "crate"]
    checked = subprocess.run(validate, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_its_paper_is_that_of_the_study(archive: Path, tmp_path: Path) -> None:
    there = shutil.copy(archive, tmp_path / "sent.zip")
    rendered = command("report.paper", there)
    assert rendered.returncode == 0, rendered.stderr
    page = tmp_path / "sent/paper.html"
    assert rendered.stdout.split()[0] == str(page)
    assert words(page) == words(archive.parent / "report/index.html")
    values = (archive.parent / "values.json").read_bytes()
    assert (tmp_path / "sent/values.json").read_bytes() == values
    assert (tmp_path / "sent/paper.pdf").read_bytes().startswith(b"%PDF")
    # The command below its figures makes the same paper from the evidence of its study.
    (make,) = set(re.findall(r"<code>(make .*?)</code>", page.read_text(encoding="utf-8")))
    dry = subprocess.check_output([*make.split(), "--dry-run"], cwd=ROOT, text=True)
    assert "python -m report.paper report/evidence/quick\n" in dry


def test_what_is_no_bundle_is_refused_in_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "no study")
    for name, why in {
        "none.zip": " is not a zip file",
        "other.zip": ": is no bundle of a study (report/bundle.py)",
    }.items():
        with pytest.raises((OSError, ValueError), match=re.escape(f"{tmp_path / name}{why}")):
            paper_of(tmp_path / name)
