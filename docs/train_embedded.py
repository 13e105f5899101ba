"""Train an embedded bundle by all steps of its recipe, one after the other.

    python docs/train_embedded.py rgb --root IMAGERY -o FOLDER

Steps lie in ``FOLDER/runs``; run again to go on where it was stopped. ``--dry-run`` prints the
commands. ``--most-steps 3`` shortens every stage: to see in minutes that the whole chain runs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "docs" / "recipes"


@dataclass(frozen=True, slots=True)
class Train:
    """`decr train all` by the recipe ``embedded_NAME.toml``, into ``runs/NAME``."""

    name: str

    @property
    def recipe(self) -> str:
        """File name of the recipe."""
        return f"embedded_{self.name}.toml"

    def product(self, recipes: Path) -> str:
        """The bundle that it ends with: named as the recipe says."""
        said = re.search(r'^name = "(.+)"$', (recipes / self.recipe).read_text(), re.MULTILINE)
        assert said is not None, self.recipe
        return f"runs/{self.name}/{said[1]}.safetensors"

    def command(self, recipes: Path, root: Path) -> list[str]:
        """Arguments of decr."""
        recipe = str(recipes / self.recipe)
        return ["train", "all", "--recipe", recipe, "--root", str(root), "-o", f"runs/{self.name}"]


@dataclass(frozen=True, slots=True)
class Average:
    """`decr models average` of the references of two bundles, into ``NAME.safetensors``."""

    first: str
    second: str
    share: float
    name: str

    def product(self, recipes: Path) -> str:
        """The bundle that it ends with."""
        return f"{self.name}.safetensors"

    def command(self, recipes: Path, root: Path) -> list[str]:
        """Arguments of decr."""
        options = ["--part", "reference", "--share", str(self.share), "--overwrite"]
        name = ["--name", self.name.replace("_", "-"), "-o", f"{self.name}.safetensors"]
        return ["models", "average", self.first, self.second, *options, *name]


Step = Train | Average

_DETECTOR = (Train("detector_1"), Train("detector"))
_FINE = (*_DETECTOR, Train("detector_fine"))
CHAINS: dict[str, tuple[Step, ...]] = {
    "detector": _DETECTOR,
    "detector_fine": _FINE,
    "detector_fine_nir": (*_FINE, Train("detector_fine_nir")),
    "rgbn": (*(Train(f"rgbn_{n}") for n in range(1, 7)), Train("rgbn")),
    "rgb": (
        *(Train(f"rgb_{n}") for n in range(1, 6)),
        Average("runs/rgb_5/rgb-5.safetensors", "runs/rgb_2/rgb-2.safetensors", 0.6, "rgb_5_mean"),
        Train("rgb_6"),
        Average("rgb_5_mean.safetensors", "runs/rgb_6/rgb-6.safetensors", 0.5, "rgb_6_mean"),
        *(Train(f"rgb_{n}") for n in range(7, 13)),
        Average(
            "runs/rgb_11/rgb-11.safetensors", "runs/rgb_12/rgb-12.safetensors", 0.3, "rgb_12_mean"
        ),
        Train("rgb"),
    ),
}
"""Steps to each bundle that ships, in order."""


def shortened(text: str, most: int) -> str:
    """A recipe whose stages take ``most`` steps at most."""
    sections = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return "".join(
        re.sub(
            r"^(steps|until) = (\d+)$",
            lambda said: f"{said[1]} = {min(most, int(said[2]))}",
            section,
            flags=re.MULTILINE,
        )
        if section.startswith("[stages.")
        else section
        for section in sections
    )


def run(chain: Sequence[Step], recipes: Path, root: Path, folder: Path, *options: str) -> Path:
    """All steps in a folder, without those whose bundle is there; the last one's bundle.

    Raises
    ------
    SystemExit
        With the code of the step that failed.
    """
    for step in chain:
        if (folder / step.product(recipes)).exists():
            print(f"{step.product(recipes)} is there")
            continue
        command = step.command(recipes, root)
        if isinstance(step, Train):
            command += options
        print("decr", *command, flush=True)
        done = subprocess.run([sys.executable, "-m", "cli", *command], cwd=folder, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        if not (folder / step.product(recipes)).exists():
            raise SystemExit(f"{folder / step.product(recipes)} was not made; run again to go on")
    return folder / chain[-1].product(recipes)


def main() -> None:
    """Train one bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", choices=CHAINS)
    parser.add_argument("--root", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--most-steps", type=int, help="of every stage, to try the chain")
    parser.add_argument("--dry-run", action="store_true")
    options, handed_on = parser.parse_known_args()
    chain, recipes, root = CHAINS[options.bundle], RECIPES, options.root.resolve()
    if options.dry_run:
        for step in chain:
            print("decr", *step.command(recipes, root), *handed_on)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if options.most_steps:
        recipes = options.out.resolve() / "recipes"
        recipes.mkdir(exist_ok=True)
        for step in chain:
            if isinstance(step, Train):
                text = shortened((RECIPES / step.recipe).read_text(), options.most_steps)
                (recipes / step.recipe).write_text(text)
    print(run(chain, recipes, root, options.out, *handed_on))


if __name__ == "__main__":
    main()
