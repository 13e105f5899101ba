"""Draw the losses of a training from its logs.

    python docs/make_training_curves.py docs/recipes/logs/embedded_rgb

The folder holds ``STAGE.jsonl`` as `decr train` writes them into the folder of a run; of lines that
an interrupted run wrote twice, the last counts. The picture is
``docs/pictures/training_FOLDER.png``: the running loss and that of eight held-out samples, each
stage by its own loss, so levels of different stages do not compare.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
ORDER = ("detector", "reference", "coarse", "weights", "joint")

Curve = dict[int, float]


def curves(log: Path) -> tuple[Curve, Curve]:
    """Loss by step of training, and of held-out samples."""
    running: Curve = {}
    held_out: Curve = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        for key, curve in (("loss", running), ("validation_loss", held_out)):
            if key in entry:
                curve[entry["step"]] = entry[key]
    return dict(sorted(running.items())), dict(sorted(held_out.items()))


def draw(folder: Path, target: Path) -> None:
    """One panel per stage.

    Raises
    ------
    SystemExit
        If there are no logs.
    """
    from matplotlib.figure import Figure

    logs = [path for stage in ORDER if (path := folder / f"{stage}.jsonl").exists()]
    if not logs:
        raise SystemExit(f"{folder}: no logs such as reference.jsonl; give the folder of a run")
    figure = Figure(figsize=(3.4 * len(logs), 2.8), layout="constrained")
    for axes, log in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs, strict=True):
        running, held_out = curves(log)
        axes.plot(list(running), list(running.values()), linewidth=1, label="training")
        axes.plot(list(held_out), list(held_out.values()), ".-", linewidth=1, label="held out")
        axes.set(title=log.stem, xlabel="step", ylabel="loss")
        axes.legend(fontsize=8)
    figure.savefig(target, dpi=100)


def main() -> None:
    """Draw one training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    target = PICTURES / f"training_{options.folder.resolve().name}.png"
    draw(options.folder, target)
    print(target)


if __name__ == "__main__":
    main()
