"""Everything the second pass needs to know of a scene and its plan."""

from __future__ import annotations

from dataclasses import dataclass

from decr.geo.grid import Window
from decr.geo.scene import Scene
from decr.pipeline.block import BlockTask
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.compose import Composer
from decr.pipeline.ground import Ground
from decr.pipeline.journal import WorkDir
from decr.pipeline.networks import Named
from decr.pipeline.plan import BlockPlan, Plan
from decr.predictor import Restorer


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Restoration:
    """A scene, what is to be done with it, and where.

    Attributes
    ----------
    look_px
        Scene pixels per quicklook pixel, if mean W is wanted at that size.
    ground
        Levels of clear ground, if restored tiles are to be moved towards them.
    """

    scene: Scene
    plan: Plan
    change: ChangeMap
    composer: Composer
    networks: Restorer | Named
    batch: int
    work: WorkDir
    at_once: int = 1
    look_px: int | None = None
    ground: Ground | None = None

    def fine(self, window: Window) -> Window:
        """A window of the work grid at full resolution, cut to the scene."""
        return window.scaled(self.plan.factor).clipped(self.scene.grid.window)

    def task(self, block: BlockPlan) -> BlockTask:
        """What restoring a block takes."""
        feed = self.composer.feed
        return BlockTask(
            scene=self.scene,
            blocks=self.plan.blocks,
            block=block,
            factor=self.plan.factor,
            feed=feed,
            radiometry=self.composer.radiometry.pick(feed),
            networks=self.networks,
            batch=self.batch,
            at_once=self.at_once,
            look_px=self.look_px,
        )
