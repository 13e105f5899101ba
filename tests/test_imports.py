"""Tests of who imports whom: layers point downwards, and cheap things stay cheap."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import decr

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "rasterio", "dask", "xarray", "scipy", "distributed", "lpips")


def fresh(code: str) -> str:
    """What a fresh interpreter prints when it runs some code in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CHEAP = (
    "decr", "cli.main", "decr.radiometry", "decr.config", "decr.errors", "cli.declouds", "cli.ccp",
    "cli.evaluate", "cli.analyse",
)  # fmt: skip


@pytest.mark.parametrize("module", CHEAP)
def test_cheap_modules_import_nothing_heavy(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(fresh(code))}
    assert not loaded & set(HEAVY)
    if module in ("decr", "cli.main"):
        assert "numpy" not in loaded


def test_the_geospatial_half_runs_without_torch() -> None:
    code = "import decr, sys; decr.open_scene; print('torch' in sys.modules)"
    assert fresh(code).strip() == "False"


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("decr.dataset.pairs", ("decr.dataset.write_pairs", "decr.report", "PIL")),
        ("decr.coverage.report_files", ("decr.pipeline.restore", "decr.pipeline.declouds")),
    ],
)
def test_a_module_loads_nothing_it_does_not_need(module: str, without: tuple[str, ...]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    assert not {*json.loads(fresh(code))} & {*without}


def test_public_names_resolve_and_are_kept() -> None:
    from decr.config import DecloudConfig
    from decr.errors import DecrError
    from decr.geo.scene import open_scene

    assert decr.DecloudConfig is DecloudConfig
    assert decr.DecrError is DecrError
    assert decr.open_scene is open_scene
    assert vars(decr)["open_scene"] is open_scene


@pytest.mark.parametrize("name", decr.__all__)
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    assert name in dir(decr)
    assert getattr(decr, name).__doc__


def test_ctrl_c_waits_until_a_first_import_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["import signal", "signal.raise_signal(signal.SIGINT)", "slow = 'whole'"]
    (tmp_path / "decr_slow.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(decr._HOMES, "slow", "decr_slow")
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            decr.__getattr__("slow")
        assert sys.modules["decr_slow"].slow == "whole"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    with ThreadPoolExecutor(1) as pool:  # where Python delivers no signals
        assert pool.submit(decr.__getattr__, "slow").result() == "whole"
    monkeypatch.delitem(vars(decr), "slow")
    monkeypatch.delitem(sys.modules, "decr_slow")


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'decr' has no attribute 'cloudsee'"):
        _ = decr.cloudsee  # type: ignore[attr-defined]


def test_type_checkers_refuse_unknown_names(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    script = tmp_path / "script.py"
    script.write_text("import decr\nprint(decr.declouds, decr.cloudsee)\n")
    options = ["--strict", "--follow-imports=skip", "--config-file=", f"--cache-dir={tmp_path}"]
    told, _, code = api.run([*options, str(script), str(ROOT / "decr" / "__init__.py")])
    assert code == 1
    assert [line.split(": ", 1)[1] for line in told.splitlines() if str(script) in line] == [
        'error: Module has no attribute "cloudsee"  [attr-defined]'
    ]


def test_type_checkers_take_what_calls_take(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    script = tmp_path / "script.py"
    script.write_text(
        "import decr, warnings\n"
        "from pathlib import Path\n"
        "warnings.simplefilter('ignore', decr.DecrWarning)\n"
        "decr.DecloudConfig(model=Path('m.safetensors'), aoi='a.geojson', cloud_mask='m.tif')\n"
        "decr.DecloudConfig(model='embedded', aoi=Path('a.geojson'))\n"
        "decr.CcpConfig(detector='file:m.tif', aoi='a.geojson', cloudy=[1, 2], thin=(3,))\n"
    )
    options = ["--strict", "--follow-imports=skip", "--config-file=", f"--cache-dir={tmp_path}"]
    homes = [str(ROOT / "decr" / f"{name}.py") for name in ("__init__", "config", "errors")]
    told, _, code = api.run([*options, str(script), *homes])
    assert code == 0, told


@pytest.mark.parametrize("name", ["DecrWarning", "DecloudResult", "Plan", "Restorer", "SceneCcp"])
def test_what_calls_give_and_warn_of_is_public(name: str) -> None:
    assert name in decr.__all__
    assert isinstance(getattr(decr, name), type)


def test_no_public_name_hides_a_module() -> None:
    folder = ROOT / "decr"
    modules = {p.stem for p in folder.glob("*.py")} | {p.name for p in folder.iterdir()}
    assert not modules & set(decr.__all__)


def test_layers_are_kept() -> None:
    code = "from importlinter.cli import lint_imports as run; raise SystemExit(run(no_cache=True))"
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
