"""Finished pairs of a set of other options are thrown away with a warning."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.dataset.acquisitions import PairRow
from decr.dataset.write_pairs import PairOptions, simulate_pairs
from decr.errors import DecrWarning
from decr.lost_work import loss_said
from decr.sets.build import build_set
from decr.sets.import_set import import_set
from tests.dataset.simulated import ground
from tests.dataset.simulated import options as some_options
from tests.dataset.two_dates import two_dates
from tests.pipeline.scenes import write_scene
from tests.sets.built import QUICK, ccp
from tests.sets.made_published import QUICK as THRESHOLD
from tests.sets.made_published import cuhk
from tests.sets.made_published import images as published_images


class _Stop(Exception):
    """Stands for a process that dies."""


def _stop_at(stage: str, at: int) -> Any:
    def stop(told: str, done: int, total: int) -> None:
        if (told, done) == (stage, at):
            raise _Stop

    return stop


def _stop_after(count: int) -> Any:
    def stop(stage: str, done: int, total: int) -> None:
        if done == count:
            raise _Stop

    return stop


def options(**changes: Any) -> PairOptions:
    return some_options(test_share=0.0, **changes)  # all for training, without a warning


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "hill.tif", ground())


def _simulated(image: Path, out: Path, after: int, **changes: Any) -> None:
    with pytest.raises(_Stop):
        simulate_pairs([image], out, options(**changes), _stop_after(after))


def test_a_simulated_set_of_other_options_is_told(image: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "set", tmp_path / "set.decr-work"
    _simulated(image, out, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecrWarning) as told:
            simulate_pairs([image], out, options(seed=5, truth=True))
        assert str(told.value) == (
            f"{work}: throws away 3 finished pairs of an earlier run that was not the same: "
            "seed 0 -> 5, truth False -> True; to keep such work, name another output"
        )
        _simulated(image, out, 4)  # nothing was gone when it was said
    with pytest.warns(DecrWarning, match="throws away 4 finished pairs") as caught:
        simulate_pairs([image], out, options(seed=5))
    assert [Path(w.filename).name for w in caught if "throws" in str(w.message)] == [
        Path(__file__).name
    ]


def test_where_nothing_finished_is_lost_nothing_is_told(image: Path, tmp_path: Path) -> None:
    work = tmp_path / "set.decr-work"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _simulated(image, tmp_path / "set", 0)
        _simulated(image, tmp_path / "set", 2, seed=1)
        for file in work.rglob("*.tif"):
            file.unlink()  # somebody tidied up
        simulate_pairs([image], tmp_path / "set", options(seed=2))
    assert (tmp_path / "set").is_dir()
    assert not work.exists()


def test_another_image_of_that_name_and_a_damaged_job_are_told(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    _simulated(image, out, 1)
    write_scene(image, ground(seed=1))
    with pytest.warns(DecrWarning, match=r"not the same: hill file \w+\.\.\.\w+ -> \w+\.\."):
        _simulated(image, out, 1, seed=0)
    (tmp_path / "set.decr-work" / "simulation.json").write_bytes(b"\0\xff")
    with pytest.warns(DecrWarning, match=r"its simulation\.json is damaged"):
        simulate_pairs([image], out, options())


def test_a_built_set_of_other_options_is_told_and_its_clouds_stay(tmp_path: Path) -> None:
    dates, out, stages = two_dates(tmp_path / "dates"), tmp_path / "set", set[str]()
    row, other = PairRow(dates.cloudy, dates.clear), replace(QUICK, buffer_m=20.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(_Stop):
            build_set([row], out, QUICK, ccp(dates), _stop_at("chips", 9))
        with pytest.raises(_Stop):
            build_set([row], out, replace(QUICK, seed=1), ccp(dates), _stop_at("writing", 2))
    with pytest.warns(DecrWarning, match=r"set\.decr-work: throws away 2 finished pairs") as told:
        build_set([row], out, other, ccp(dates), lambda stage, *_: stages.add(stage))
    (said,) = [str(w.message) for w in told if "throws" in str(w.message)]
    assert "not the same: buffer_m 30.0 -> 20.0, seed 1 -> 0; to keep" in said
    assert stages == {"writing"}


def test_an_imported_set_of_other_options_is_told(tmp_path: Path) -> None:
    published, out = cuhk(tmp_path / "p" / "CUHK-CR1", published_images()), tmp_path / "set"
    with pytest.raises(_Stop):
        import_set(published, out, None, THRESHOLD, on_progress=_stop_at("writing", 3))
    with pytest.warns(DecrWarning, match="away 3 finished pairs .*: drop_duplicates False -> True"):
        import_set(published, out, None, THRESHOLD, drop_duplicates=True)


def test_work_of_another_command_is_named_and_can_be_kept(image: Path, tmp_path: Path) -> None:
    published, out = cuhk(tmp_path / "p" / "CUHK-CR1", published_images()), tmp_path / "set"
    _simulated(image, out, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecrWarning) as told:
            import_set(published, out, None, THRESHOLD)
    assert str(told.value).endswith(
        "throws away 3 finished pairs of an earlier run that was not the same: it was begun by "
        "decr dataset simulate (simulation.json); to keep such work, name another output"
    )


def _said(tmp_path: Path, old: Any, new: Any) -> str:
    (tmp_path / "job.json").write_text(json.dumps(old))
    return loss_said(tmp_path / "job.json", new, 1, "pairs").partition("not the same: ")[2]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            {"pairs": [{"name": "a", "clear": "x"}], "options": {"limits": {"days": 3}}},
            {"pairs": [{"name": "a", "clear": "y"}], "options": {"limits": {"days": 4}}},
            "limits days 3 -> 4, a clear x -> y",
        ),
        (
            {"pairs": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]},
            {"pairs": [{"name": "b", "n": 2}, {"name": "c", "n": 3}]},
            "c none -> there, a there -> none",
        ),
        (
            {"pairs": [{"name": "a"}, {"name": "b"}]},
            {"pairs": [{"name": "b"}, {"name": "a"}]},
            "the order in which things are named",
        ),
        (
            {"detector": "d" * 30 + "1" + "d" * 30},
            {"detector": "d" * 30 + "2" + "d" * 30},
            f"detector {'d' * 20}...{'d' * 20} -> another",
        ),
    ],
)
def test_what_is_other_is_told_by_its_name(tmp_path: Path, old: Any, new: Any, told: str) -> None:
    assert _said(tmp_path, old, new) == f"{told}; to keep such work, name another output"


_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=90),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=9,
)


@given(old=st.dictionaries(st.text(max_size=5), _values), new=_values)
def test_something_is_told_of_whatever_two_jobs(
    tmp_path_factory: pytest.TempPathFactory, old: Any, new: Any
) -> None:
    said = _said(tmp_path_factory.getbasetemp(), old, {"options": new})
    assert said.endswith("; to keep such work, name another output") == bool(old)
    assert 0 < len(said) < 1000
