"""All imagery of a recipe, in memory, and the samples that a stage draws from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decr.dataset.clear import held_out, read_clear, read_labelled
from decr.dataset.collage import LabelledImage, detection_sample
from decr.dataset.dates import DatedPlace, dated_crop, dated_partners
from decr.dataset.fine_views import fine_sample
from decr.dataset.guesses import tell
from decr.dataset.layouts import list_pairs
from decr.dataset.manifest import PairFile
from decr.dataset.pairs import PairImage, large_enough, pair_crop, read_pairs
from decr.dataset.samples import ClearImage, Draw, Sample, area_shrunk, clouded_crop, drawer
from decr.errors import ConfigError, DatasetError, warn
from decr.progress import OnProgress, silent
from decr.training.recipe import Recipe
from decr.training.settings import TrainConfig
from decr.training.stages import Stage

LEAST_PX = 140
"""Images smaller than this are passed over: too small to cut and turn samples from."""

WHOLE_PX = 512
"""Side of what counts as a whole image among clear imagery: that of the paper's images."""


@dataclass(frozen=True, slots=True, eq=False)
class Imagery:
    """Everything a recipe trains on, or everything it holds out."""

    clear: list[ClearImage]
    labelled: list[LabelledImage]
    pairs: list[PairImage]

    @property
    def names(self) -> list[str]:
        """Names of all images."""
        clear, labelled = [i.name for i in self.clear], [i.name for i in self.labelled]
        return [*clear, *labelled, *(pair.name for pair in self.pairs)]


def read_split(recipe: Recipe, on_progress: OnProgress = silent) -> tuple[Imagery, Imagery]:
    """The training and the held-out imagery of a recipe; the latter may be empty.

    Images too small for the samples of a stage are passed over.

    Parameters
    ----------
    on_progress
        As for `read_pairs`.

    Raises
    ------
    DatasetError
        If nothing is left to train on.
    """
    least_px, pair_px = _least(recipe)
    detector_px = recipe.stages["detector"].size_px if "detector" in recipe.stages else 1
    clear = [i for folder in recipe.clear for i in read_clear(folder, recipe.bands, least_px)]
    labelled = [
        image
        for folder in recipe.labelled
        for image in read_labelled(folder, detector_px)
        if set(recipe.bands) <= set(image.bands)
    ]
    pairs, other = _pairs(recipe, pair_px, on_progress)

    def side(held: bool) -> Imagery:
        return Imagery(
            [image for image in clear if held_out(image.name, recipe.holdout) == held],
            [image for image in labelled if held_out(image.name, recipe.holdout) == held],
            [pair for pair in pairs if held_out(pair.name, recipe.holdout) == held],
        )

    names = Imagery(clear, labelled, pairs).names
    for pattern in recipe.holdout:
        if not any(held_out(name, [pattern]) for name in names):
            warn(f"recipe {recipe.name!r}: no image is called {pattern}, so that holds out none")
    unseen = side(held=True)
    unseen.pairs.extend(other)

    training = side(held=False)
    if not training.clear and not training.pairs:
        raise _nothing(recipe)
    return training, unseen


def _least(recipe: Recipe) -> tuple[int, int]:
    """Sides that clear images and pairs must have for the samples of all stages."""
    restoring = [c.least_px for name, c in recipe.stages.items() if name != "detector"]
    return max([LEAST_PX, *restoring]), max([1, *restoring])


def _pairs(
    recipe: Recipe, least_px: int, on_progress: OnProgress
) -> tuple[list[PairImage], list[PairImage]]:
    """Pairs of the splits that the recipe asks for, and of others to validate with."""
    asked: list[PairImage] = []
    other: list[PairImage] = []
    for folder in recipe.pairs:
        listed = list_pairs(folder.path, folder.layout, folder.skip)
        if folder.split == "train" and _named(listed, recipe.holdout):
            asked += read_pairs(replace(folder, split="all"), recipe.bands)
            continue
        own = read_pairs(folder, recipe.bands, on_progress=on_progress)
        asked += own
        if folder.split != "train":
            continue
        there = {file.split for file in listed}
        # The test pairs only where there are no others to look at: nothing is learnt from them.
        for split in [split for split in ("val", "test") if split in there][:1]:
            there_too = replace(folder, split=split)
            other += read_pairs(there_too, recipe.bands, own, on_progress)

    def large(pairs: list[PairImage]) -> list[PairImage]:
        return [pair for pair in pairs if min(pair.clear.shape[1:]) >= least_px]

    small = [p.name for p in (*asked, *other) if min(p.clear.shape[1:]) < least_px]
    why = f"passed over, for want of {least_px} x {least_px} valid pixels for {_widest(recipe)}"
    tell(f"recipe {recipe.name!r}", f"{len(asked) + len(other)} pairs", {why: small})
    return large(asked), large(other)


def _widest(recipe: Recipe) -> str:
    """The restoring stage with the largest samples."""
    sides = {n: 0 if n == "detector" else c.least_px for n, c in recipe.stages.items()}
    return f"stage {max(sides, key=sides.__getitem__)}"


def _named(listed: Sequence[PairFile], holdout: Sequence[str]) -> bool:
    """Whether the holdout names pairs of a set of which only a hash would say which to keep."""
    hashed = all(file.split_by_hash for file in listed)
    return hashed and any(held_out(file.name, holdout) for file in listed)


def validates(stage: Stage, unseen: Imagery) -> bool:
    """Whether held-out imagery has samples for a stage: a detector's are of clear images alone."""
    return bool(unseen.clear or (unseen.pairs and stage.loss != "mask"))


def _nothing(recipe: Recipe) -> DatasetError:
    least = dict(zip(("image", "pair"), _least(recipe), strict=True))
    what = "image" if recipe.clear else "pair"
    smaller = f" ({least['pair']} x {least['pair']} for pairs)" if recipe.clear else ""
    return DatasetError(
        f"recipe {recipe.name!r}: no training {what} with bands {', '.join(recipe.bands)} and at "
        f"least {least[what]} x {least[what]} valid pixels{smaller if recipe.pairs else ''}; "
        f"{_widest(recipe)} takes the largest samples: follow a recipe without it, or see its "
        f"folders and its holdout"
    )


def sampler(
    stage: Stage, config: TrainConfig, recipe: Recipe, imagery: Imagery, *, validation: bool = False
) -> Draw:
    """What draws a stage's samples, each a function of one generator.

    What walks through all images is done here, once, and not for each sample.

    Parameters
    ----------
    validation
        Whether the imagery is held out, which need not have ground on two dates.

    Raises
    ------
    ConfigError
        If a detector is to be trained without clear imagery to simulate clouds over, or if truths
        of other dates are asked for and there are none.
    """
    if stage.loss == "mask":
        if not imagery.clear:
            raise ConfigError(
                f"recipe {recipe.name!r}: a detector needs clear imagery, not only pairs; add "
                f"some with --clear or [[clear]]"
            )
        darkest = recipe.parts["detector"].size.get("darkest")
        draw_view = fine_sample if darkest else detection_sample
        return lambda rng: draw_view(
            rng, imagery.clear, imagery.labelled, recipe.bands, config.size_px
        )

    places = _dated_places(config, recipe, imagery.clear)
    if recipe.other_date_share and imagery.clear and not (places or validation):
        raise ConfigError(
            f"recipe {recipe.name!r}: other_date_share is {recipe.other_date_share}, but by "
            f"date_pattern {recipe.date_pattern!r} no ground is there on two dates"
        )

    share = recipe.pair_share if imagery.clear else 1.0
    paired = _paired(config, recipe, imagery.pairs) if imagery.pairs else None
    dated = _dated(config, recipe, places) if places else None
    simulated = _simulated(config, recipe, imagery.clear) if imagery.clear else None

    def draw(rng: np.random.Generator) -> Sample:
        # Without pairs nothing is drawn here: streams are those of recipes that know no pairs.
        if paired and rng.random() < share:
            return paired(rng)
        # The same holds for dates.
        if dated and rng.random() < recipe.other_date_share:
            return dated(rng)
        assert simulated is not None
        return simulated(rng)

    return draw


def _dated_places(config: TrainConfig, recipe: Recipe, clear: list[ClearImage]) -> list[DatedPlace]:
    """Places seen on several dates, large enough for a stage; none if the recipe asks for none."""
    if not recipe.other_date_share:
        return []
    return [
        place
        for place in dated_partners(clear, recipe.date_pattern)
        if min(place[0].dn.shape[1:]) >= config.least_px
    ]


def _paired(config: TrainConfig, recipe: Recipe, pairs: list[PairImage]) -> Draw:
    bands, size_px, shrink = recipe.bands, config.size_px, config.shrink
    if shrink != "whole":
        pairs = large_enough(pairs, size_px * shrink)
    drawn = drawer([pair.area for pair in pairs])

    def draw(rng: np.random.Generator) -> Sample:
        pair = pairs[drawn(rng)]
        if shrink != "whole":
            return pair_crop(rng, pair, bands, size_px, shrink)
        rng.random()  # so samples stay those that bundles were trained on
        return pair_crop(rng, pair, bands, size_px, min(pair.clear.shape[1:]) // size_px)

    return draw


def _dated(config: TrainConfig, recipe: Recipe, places: list[DatedPlace]) -> Draw:
    drawn = drawer([place[0].area for place in places])
    look = recipe.bands, config.least_px, recipe.gsd_range_m, recipe.variety
    k = config.least_px // config.size_px
    return lambda rng: _shrunk(dated_crop(rng, places[drawn(rng)], *look), k)


def _simulated(config: TrainConfig, recipe: Recipe, images: list[ClearImage]) -> Draw:
    drawn = drawer([image.area for image in images])
    look = recipe.gsd_range_m, recipe.variety

    def draw(rng: np.random.Generator) -> Sample:
        image = images[drawn(rng)]
        if isinstance(config.shrink, int):
            k = config.shrink
        else:
            k = max(1, min(WHOLE_PX, *image.dn.shape[1:]) // config.size_px)
            rng.random()  # so samples stay those that bundles were trained on
        return _shrunk(clouded_crop(rng, image, recipe.bands, config.size_px * k, *look), k)

    return draw


def _shrunk(sample: Sample, k: int) -> Sample:
    """A sample at a k-th of its size."""
    if k == 1:
        return sample
    return replace(
        sample,
        cloudy=area_shrunk(sample.cloudy, k),
        clear=area_shrunk(sample.clear, k),
        cloud_mask=sample.cloud_mask[::k, ::k],
    )
