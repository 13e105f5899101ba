"""`decr train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    "run_dir",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run: checkpoints, logs and at last the bundle.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder that the recipe's folders are relative to.",
)
@click.option("--max-minutes", type=float, help="Stop, resumably, after this long per stage.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def command(
    recipe: Path,
    run_dir: Path,
    root: Path,
    max_minutes: float | None,
    device: str,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train the networks of RECIPE, a TOML file; run again to go on after an interruption.

    \b
    Examples:
      decr train docs/recipes/embedded_rgbn.toml --root imagery -o runs/rgbn --dry-run
      decr train my.toml -o runs/mine --max-minutes 60
    """
    import dataclasses

    from decr.training.recipe import read_recipe
    from decr.training.run import read_imagery, run_recipe

    plan = read_recipe(recipe, root)
    if max_minutes is not None:
        stages = {
            name: dataclasses.replace(c, max_minutes=max_minutes) for name, c in plan.stages.items()
        }
        plan = dataclasses.replace(plan, stages=stages)
    if dry_run:
        imagery = read_imagery(plan)
        pixels = sum(i.dn.shape[1] * i.dn.shape[2] for i in imagery.clear)
        click.echo(
            f"{plan.name}: {len(imagery.clear)} clear images, {pixels / 1e6:.1f} Mpx, "
            f"{len(imagery.labelled)} labelled"
        )
        for name, config in plan.stages.items():
            click.echo(f"  {name}: {config.steps} steps of {config.batch}, lr {config.lr:g}")
        return
    report = _Report(quiet)
    bundle = run_recipe(plan, run_dir, report, device)
    report.close()
    if bundle is None:
        click.echo(f"stopped before the end; run the same command to go on ({run_dir})")
    else:
        click.echo(bundle)


class _Report:
    """A progress bar per stage."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, step: int, steps: int, loss: float) -> None:
        if self.quiet:
            return
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            self._bar = tqdm(
                total=steps,
                initial=step - 1,
                desc=stage,
                unit="step",
                file=sys.stderr,
                mininterval=1.0,
            )
            self._stage = stage
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update(step - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
