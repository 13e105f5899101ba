"""Cloud coverage of one scene, as tests ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decr.config import CcpConfig
from decr.coverage.ccp import SceneCcp, looking, scene_ccp
from decr.coverage.sources import Source
from decr.pipeline.engine import local_engine


def found(
    scene: Path, folder: Path | None = None, px: int | None = None, **options: Any
) -> SceneCcp:
    with local_engine() as engine:
        look = looking(CcpConfig(**options), engine)
        return scene_ccp(Source("scene", str(scene)), look, folder, px)
