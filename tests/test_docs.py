"""The documentation is true: examples run, commands parse, links resolve, help is current."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from cli.main import main
from cli.options import config_from
from decr.config import CcpConfig
from docs import capture_help, figures, make_model_cards

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_scenes").glob("*.md")]
)
CARDS = ROOT / "decr" / "weights"
SCRIPTS = [p.stem for p in sorted((ROOT / "docs").glob("*.py")) if p.stem != "figures"]
RESTORATIONS = ("declouds", "plan")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(path.read_text()) if language in languages]


def shell_commands(path: Path) -> list[list[str]]:
    """Every command of the page's shell blocks, cut into words."""
    lines = "\n".join(blocks(path, "bash", "console", "sh")).replace("\\\n", " ").splitlines()
    steps = [s for line in lines for s in re.split(r"&&|\|\|", line.removeprefix("$ "))]
    return [words for step in steps if (words := shlex.split(step, comments=True))]


def top() -> click.Context:
    # Commands keep the first help option that they made, so all contexts must agree on its names.
    return click.Context(main, info_name="decr", **main.context_settings)


def parsed(arguments: list[str]) -> None:
    """Walk through groups to a command and let it take its arguments; nothing is run."""
    command: click.Command = main
    context = top()
    while isinstance(command, click.Group):
        assert arguments, f"{context.command_path} needs a subcommand"
        name, *arguments = arguments
        child = command.get_command(context, name)
        assert child is not None, f"no command {context.command_path} {name}"
        command = child
        if not isinstance(command, click.Group):
            context = command.make_context(name, list(arguments), parent=context)
    if context.info_name in RESTORATIONS:
        own = {"scene", "scenes", "out", "overwrite", "dry_run", "as_json", "quiet"}
        own |= {"workers", "scheduler", "report"}
        config_from({k: v for k, v in context.params.items() if k not in own})
    if context.info_name == "ccp":
        own = {"scenes", "out", "as_json", "quiet"}
        CcpConfig(**{k: v for k, v in context.params.items() if k not in own})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page run in order, in one namespace, in an empty folder with the scenes."""
    examples = blocks(page, "python")
    if any("sample_scenes" in example for example in examples):
        (tmp_path / "sample_scenes").symlink_to(ROOT / "sample_scenes")
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "example"}
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"{name_of(page)}, Python block {number}", "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_shell_examples_parse(page: Path) -> None:
    for words in shell_commands(page):
        if words[0] == "decr":
            parsed(words[1:])
        elif words[:2] == ["python", "-m"]:
            # A pip or pytest that is not installed would not run this test.
            assert importlib.util.find_spec(words[2]) is not None, words
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), words


def test_a_wrong_example_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["declouds", "a.tif", "-o", "b.tif", "--speed", "fast"])
    with pytest.raises(click.MissingParameter):
        parsed(["declouds", "a.tif"])
    with pytest.raises(click.UsageError, match="overlap"):
        parsed(["plan", "a.tif", "--overlap", "200"])
    with pytest.raises(AssertionError):
        parsed(["models"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name_of(page)}: no file {target}"
        if anchor:
            assert anchor in anchors(path), f"{name_of(page)}: no heading {target}"


def test_every_picture_is_linked() -> None:
    linked = {
        (page.parent / target).resolve()
        for page in (*PAGES, *CARDS.glob("*.md"))
        for target in _LINK.findall(page.read_text())
    }
    pictures = {path.resolve() for path in (ROOT / "docs" / "pictures").iterdir()}
    assert len(pictures) > 20
    assert pictures <= linked


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_pages_only_say_what_they_do_if_asked(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without a parser they would measure for minutes and write their page.
    assert "ArgumentParser" in (ROOT / "docs" / f"{script}.py").read_text()
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"docs.{script}").main()
    assert ended.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_readme_counts_harmed_samples_as_the_cards_do() -> None:
    found = [
        re.search(r"It harmed (\d+) of 96\.", (CARDS / f"embedded_{bands}.md").read_text())
        for bands in ("rgbn", "rgb")
    ]
    four, three = (match[1] for match in found if match)
    assert f"which harmed {four} and {three} of 96 samples" in (ROOT / "README.md").read_text()


def test_cards_of_detectors_say_how_labelled_images_were_shown() -> None:
    for card in CARDS.glob("embedded_detector*.md"):
        text = card.read_text()
        assert (make_model_cards.LABELLED in text) == ("| real |" in text), card.name


def anchors(path: Path) -> set[str]:
    """Anchors that a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_the_tree_names_the_modules_there_are() -> None:
    """A package's modules stand there as NAME.py, or all as a list with notes in parentheses."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = page.partition("\ndecr/\n")[2].partition("\ncli/")[0]
    _, *parts = re.split(r"^  (\w+)/", tree, flags=re.MULTILINE)
    assert len(parts) > 20
    for package, text in zip(parts[::2], parts[1::2], strict=True):
        bare = re.sub(r"\(.*?\)", "", text, flags=re.DOTALL)
        named = set(re.findall(r"(\w+)\.py", text)) or set(re.findall(r"\w+", bare)) - {"and"}
        folder = ROOT / "decr" / package
        there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        folders = {path.name for path in folder.iterdir() if path.is_dir()}
        assert there <= named <= there | folders, package


def test_captured_help_is_current() -> None:
    # Versions of click break lines differently.
    stored, current = (
        t.split() for t in (capture_help.TARGET.read_text(), capture_help.captured())
    )
    assert stored == current, "run: python docs/capture_help.py"


def test_help_shows_its_examples_line_by_line() -> None:
    # In a raw docstring, click's \b is two characters and does not keep lines apart.
    assert "\\b" not in capture_help.captured()


def test_examples_in_help_parse() -> None:
    found = 0
    for command, context in capture_help.commands(main, top()):
        for line in (command.help or "").splitlines():
            if line.strip().startswith("decr "):
                words = shlex.split(line)[1:]
                # The group shows examples of its commands, commands show their own.
                assert context.parent is None or words[0] == context.command_path.split()[1]
                parsed(words)
                found += 1
    assert found >= 5


def test_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    for marker, command in (
        ("install-command", "pip install . && decr declouds sample_scenes/meadowbrook_cloudy.tif"),
        ("test-command", 'pip install ".[test]" && python -m pytest -n 2 --dist loadfile'),
    ):
        found = re.search(rf"<!-- {marker} -->\n```bash\n(.+)\n```", text)
        assert found is not None
        assert command in found[1]


def test_every_figure_is_explained() -> None:
    table = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "figures.md").read_text()))
    used = {name for path in figures.FILLED for name in figures.slots(path.read_text())}
    assert used <= table
    assert "PSNR_GAIN" in used


def test_no_figure_is_left_unmeasured() -> None:
    for path in figures.FILLED:
        assert "{{" not in path.read_text(), f"{name_of(path)}: run python docs/figures.py measure"


def test_filling_figures_can_be_repeated() -> None:
    text = "a <!-- figure:X -->{{X}}<!-- /figure --> b <!-- figure:Y -->2<!-- /figure -->"
    once = figures.filled(text, {"X": "1.5"})
    assert figures.slots(once) == {"X": "1.5", "Y": "2"}
    assert figures.filled(once, {"X": "1.5"}) == once
    assert figures.slots(figures.filled(once, {"X": "3", "Y": "4"})) == {"X": "3", "Y": "4"}


def test_ssim_gives_known_answers() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2048, (4, 64, 48)).astype(np.uint16)
    where = np.zeros((64, 48), bool)
    where[20:40, 10:30] = True
    assert figures.ssim(truth, truth, where) == pytest.approx(1.0)
    noise = rng.integers(0, 2048, truth.shape)
    assert figures.ssim(noise, truth, where) < 0.1
    flat = np.full_like(truth, 1000), np.full_like(truth, 500)
    # Without texture only the luminance term is left.
    c1 = (0.01 * 2047) ** 2
    expected = (2 * 1000 * 500 + c1) / (1000**2 + 500**2 + c1)
    assert figures.ssim(*flat, where) == pytest.approx(expected)
