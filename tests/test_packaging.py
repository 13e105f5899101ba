"""Tests of the package: all that is on disk is in the wheel, under its name, with one version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import decr
from decr.zoo.embedded import EMBEDDED

ROOT = Path(__file__).resolve().parents[1]
FILES = ("MANIFEST.in", "pyproject.toml", "README.md")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def setuptools() -> None:
    """Skips where it is missing or too old."""
    found = re.match(r"\d+", metadata.version("setuptools")) if _has("setuptools") else None
    if found is None or int(found[0]) < 77:
        pytest.skip("setuptools 77 or later is not installed; it comes with the extra 'test'")


@pytest.fixture(scope="module")
def wheel(setuptools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the checkout stays clean; no network needed."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in ("decr", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return path


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_the_package_list_is_what_is_on_disk(project: dict[str, Any]) -> None:
    folders = {p.parent.relative_to(ROOT) for p in (ROOT / "decr").rglob("__init__.py")}
    on_disk = {".".join(folder.parts) for folder in folders} | {"decr.cli"}
    assert set(project["tool"]["setuptools"]["packages"]) == on_disk
    with_code = {p.parent.relative_to(ROOT) for p in (ROOT / "decr").rglob("*.py")}
    assert with_code == folders  # no folder of code lacks its __init__.py
    assert project["tool"]["setuptools"]["package-dir"]["decr.cli"] == "cli"
    assert not (ROOT / "decr" / "cli").exists()


def test_the_version_has_one_source(project: dict[str, Any]) -> None:
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "decr.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", decr.__version__)
    holders = [
        path
        for folder in ("decr", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^__version__\s*=", path.read_text(), re.MULTILINE)
    ]
    assert holders == [ROOT / "decr" / "__init__.py"]


def test_the_wheel_holds_all_code_and_weights(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {
        f"decr/{path.relative_to(ROOT)}" if folder == "cli" else str(path.relative_to(ROOT))
        for folder in ("decr", "cli")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert code <= names
    assert "decr/py.typed" in names
    assert {f"decr/weights/{file}" for file in EMBEDDED.values()} <= names
    assets = {f.name for f in (ROOT / "decr" / "report" / "assets").iterdir()}
    assert assets
    assert {f"decr/report/assets/{name}" for name in assets} <= names
    assert {name.split("/")[0] for name in names} == {
        "decr",
        f"decr-{decr.__version__}.dist-info",
    }


@pytest.mark.usefixtures("setuptools")
def test_an_sdist_holds_all_that_the_tests_read(tmp_path: Path) -> None:
    code = "from setuptools import setup; setup()"
    subprocess.run(
        [sys.executable, "-c", code, "-q", "egg_info", "--egg-base", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    listed = {*(tmp_path / "decr.egg-info" / "SOURCES.txt").read_text().splitlines()}
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("cli", "decr", "docs", "sample_scenes", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files | {*FILES, ".ci/run"} <= listed
    assert not any(name.endswith(".pyc") for name in listed)


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    assert wheel.name == f"decr-{decr.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        info = f"decr-{decr.__version__}.dist-info"
        entry_points = file.read(f"{info}/entry_points.txt").decode()
        about = file.read(f"{info}/METADATA").decode()
    assert "decr = decr.cli.main:main" in entry_points
    assert f"Version: {decr.__version__}" in about
    assert "Requires-Python: >=3.11" in about


def test_the_wheel_runs_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    code = "import decr, decr.cli.main as m; m.main(['--help'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, 'site'); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "declouds" in done.stdout
