"""Built sets whose chips may lack data: what is no data stays so, and decides nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from decr.dataset.acquisitions import PairRow, open_pairs
from decr.dataset.build_set import Considered, white_of
from decr.dataset.chip_rules import ChipFacts, Limits
from decr.dataset.pairs import PairFolder, read_pairs
from decr.errors import DatasetError, DecrWarning
from decr.sets.build import Built
from decr.sets.upkeep import verify_set
from tests.dataset.two_dates import BANDS, SIZE, TwoDates
from tests.sets.built import QUICK, build, table

ALL = replace(QUICK, split="random", limits=Limits(max_nodata=1.0), match=False)


def with_nodata(path: Path, image: NDArray[np.generic], nodata: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(path) as file:
        profile, tags = file.profile, file.tags()
    with rasterio.open(path, "w", **{**profile, "dtype": image.dtype, "nodata": nodata}) as file:
        file.write(image)
        file.descriptions = BANDS
        file.update_tags(TIFFTAG_DATETIME=tags["TIFFTAG_DATETIME"])
    return path


@pytest.fixture(scope="module", params=["uint16", "float32"])
def holed(
    dates: TwoDates, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> TwoDates:
    """Some pixels of every chip of the cloudy image, and a column of chips, have no data."""
    paths, folder = [], tmp_path_factory.mktemp(request.param)
    for path in (dates.cloudy, dates.clear):
        copy = folder / "in" / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
        with rasterio.open(path) as file:
            image = file.read().astype(request.param)
        nothing = 65535 if request.param == "uint16" else np.nan
        image[image == 0] = nothing
        if path == dates.cloudy:
            image[:, 60::SIZE, 60::SIZE] = nothing
            image[:, :, -SIZE - 40 :] = nothing
        paths.append(with_nodata(copy, image, nothing))
    return TwoDates(paths[0], paths[1], dates.masks)


@pytest.fixture(scope="module")
def made(holed: TwoDates) -> tuple[Path, Built]:
    """The set built of it; read only."""
    folder = holed.cloudy.parents[1] / "set"
    return folder, build(holed, folder, ALL)


def test_nodata_is_marked_in_chips_and_decides_no_white(
    holed: TwoDates, made: tuple[Path, Built]
) -> None:
    folder, built = made
    (white,) = {entry["white"] for entry in built.entries}
    # The full scale of whole numbers; of others, the largest.
    assert 1500 < white <= 2047
    for entry in built.entries:
        row, col, height, width = entry["about"]["window"]
        with rasterio.open(holed.cloudy) as file:
            truth = file.dataset_mask()[row : row + height, col : col + width]
        with rasterio.open(folder / entry["cloudy"]) as file:
            np.testing.assert_array_equal(file.dataset_mask(), truth)
            assert not truth.all()
    assert verify_set(folder).problems == []
    with pytest.warns(DecrWarning, match="are cut to a rectangle"):
        pairs = read_pairs(PairFolder(folder, "manifest", split="all"), BANDS)
    assert all(np.isfinite(p.cloudy).all() and p.cloudy.max() <= white for p in pairs)


def test_white_is_that_of_all_pairs_of_one_type(dates: TwoDates) -> None:
    row = PairRow(dates.cloudy, dates.clear)
    pairs = {pair.name: pair for pair in open_pairs([row, row, row])}
    reals = pairs["cloudy_3"]
    pairs["cloudy_3"] = replace(reals, cloudy=replace(reals.cloudy, dtype="float32"))
    tops = zip(pairs, (900.0, 1500.0, 0.7), strict=True)
    chips = [Considered("c", name, 0, 0, ChipFacts(1.0), None, top=top) for name, top in tops]
    whites = [white_of(pair, chips, pairs, QUICK) for pair in pairs.values()]
    assert whites == [2047.0, 2047.0, 0.7]
    assert white_of(reals, chips, pairs, replace(QUICK, white=3000.0)) == 3000.0


def test_chips_of_nothing_are_left_out_though_all_nodata_is_allowed(
    made: tuple[Path, Built],
) -> None:
    folder, built = made
    nothing = [c for c in table(folder).values() if float(c["nodata"] or 0) == 1]
    assert nothing
    assert {c["reason"] for c in nothing} == {"nodata"}
    assert built.rejected["nodata"] == len(nothing)


@pytest.mark.parametrize("collar", [0, 8])
def test_chips_begin_where_both_images_have_data(
    dates: TwoDates, tmp_path: Path, collar: int
) -> None:
    """One chip of 512 px has room beside an edge without data; without one it is where it was."""
    paths = []
    for path in (dates.cloudy, dates.clear):
        with rasterio.open(path) as file:
            image = file.read()
        if path == dates.cloudy and collar:
            image[:, :collar] = image[:, :, :collar] = 0
            image[:, -collar:] = 0
        paths.append(tmp_path / "in" / path.name)
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(path.read_bytes())
        with_nodata(paths[-1], image, 0)
    options = replace(ALL, size_px=512, limits=Limits(max_clear_ccp=1.0))
    with pytest.warns(DecrWarning, match="too few"):
        build(TwoDates(paths[0], paths[1], dates.masks), tmp_path / "set", options)
    (chip,) = table(tmp_path / "set").values()
    # The clear image begins at row 1, column 5, for its shift and the border of resampling.
    assert (chip["row"], chip["col"], chip["split"]) == (
        str(max(collar, 1)),
        str(max(collar, 5)),
        "train",
    )


def test_where_no_chip_has_all_its_data_the_ways_out_are_told(
    dates: TwoDates, tmp_path: Path
) -> None:
    with rasterio.open(dates.clear) as file:
        image = file.read()
    image[:, 300:330] = 0
    paths = {}
    for path in (dates.cloudy, dates.clear):
        paths[path] = tmp_path / "in" / path.name
        paths[path].parent.mkdir(exist_ok=True)
        paths[path].write_bytes(path.read_bytes())
    with_nodata(paths[dates.clear], image, 0)
    options = replace(ALL, size_px=512, limits=Limits(max_clear_ccp=1.0))
    with pytest.raises(DatasetError, match=r"nodata: 1.*--size .*--max-nodata, .*-srcwin"):
        build(TwoDates(*paths.values(), dates.masks), tmp_path / "set", options)
