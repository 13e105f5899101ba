"""Files of an evaluation: rows as CSV, JSON and Parquet, tables as text; all say how."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from decr.errors import ConfigError, warn
from decr.evaluation.evaluate import Evaluation
from decr.evaluation.protocols import finite
from decr.evaluation.statistics import Mean
from decr.evaluation.summary import columns, comparisons, described, means
from decr.files import check_replaced, json_object, writable_folder, write_report_file
from decr.geo.geoparquet import require_pyarrow

STEM = "evaluation"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as plain values; what is infinite is null, and said so by the mean's count."""
    return {
        **evaluation.facts,
        "means": {
            model: {name: _mean(one) for name, one in found.items()}
            for model, found in means(evaluation).items()
        },
        "comparisons": [
            {
                "first": first,
                "second": second,
                "scores": {
                    name: {**asdict(one), "difference": _mean(one.difference)}
                    for name, one in found.items()
                },
            }
            for (first, second), found in comparisons(evaluation).items()
        ],
        "rows": [
            {
                "model": row.model,
                "image": row.image,
                "changed_share": row.changed_share,
                "seconds": row.seconds,
                **{name: finite(value) for name, value in row.scores.items()},
            }
            for row in evaluation.rows
        ],
    }


def as_csv(evaluation: Evaluation) -> str:
    """One line per model and image, after the facts as comments; empty = the score does not exist.

    Infinite scores are ``inf``. Read it with ``pandas.read_csv(path, comment="#")``: a name that
    holds # is quoted, so that nothing of it is taken for a comment.
    """
    names, sheet = columns(evaluation), io.StringIO()
    for key, value in evaluation.facts.items():
        said = value if isinstance(value, str) else json.dumps(value)
        sheet.write(f"# {key}: {said}".replace("\n", " ") + "\n")
    writer = csv.writer(sheet, lineterminator="\n")
    quoting = csv.writer(sheet, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(("model", "image", "changed_share", "seconds", *names))
    for row in evaluation.rows:
        (quoting if "#" in row.model + row.image else writer).writerow(
            (
                row.model,
                row.image,
                f"{row.changed_share:.6g}",
                f"{row.seconds:.3f}",
                *("" if (v := row.scores.get(name)) is None else f"{v:.8g}" for name in names),
            )
        )
    return sheet.getvalue()


def check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot take an evaluation; it is made if need be.

    Raises
    ------
    OutputError
        If it cannot be made or written to, or a file there of those names is no evaluation.
    """
    values = writable_folder(folder) / f"{STEM}.json"
    ours = {"protocol_says", "comparisons"} <= json_object(values).keys()
    for suffix in (".json", ".csv", ".txt", ".parquet"):
        check_replaced(values.with_suffix(suffix), ours)


def write_evaluation(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write evaluation.json, .csv, .txt and, with pyarrow, .parquet into a folder.

    Raises
    ------
    OutputError
        If a file cannot be written.

    Warns
    -----
    DecrWarning
        If Parquet is left out, since pyarrow is not installed.
    """
    writable_folder(folder)
    texts = {
        "json": json.dumps(as_json(evaluation), indent=1) + "\n",
        "csv": as_csv(evaluation),
        "txt": described(evaluation) + "\n",
    }
    written = []
    for suffix, content in texts.items():
        written.append(folder / f"{STEM}.{suffix}")
        write_report_file(written[-1], content)
    try:
        table = _parquet(evaluation)
    except ConfigError as error:
        warn(f"{STEM}.parquet is left out: {error}")
        return written
    written.append(folder / f"{STEM}.parquet")
    write_report_file(written[-1], table)
    return written


def _parquet(evaluation: Evaluation) -> bytes:
    pyarrow = require_pyarrow()
    rows = [
        {
            "model": row.model,
            "image": row.image,
            "changed_share": row.changed_share,
            "seconds": row.seconds,
            **{name: row.scores.get(name) for name in columns(evaluation)},
        }
        for row in evaluation.rows
    ]
    table = pyarrow.Table.from_pylist(rows)
    table = table.replace_schema_metadata({"decr": json.dumps(dict(evaluation.facts))})
    sheet = io.BytesIO()
    pyarrow.parquet.write_table(table, sheet)
    return sheet.getvalue()


def _mean(found: Mean | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {key: finite(value) for key, value in asdict(found).items()}
