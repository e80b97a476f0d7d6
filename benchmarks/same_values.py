"""Do two versions of mesascope measure the same? Every number of the older reports, looked up in the newer ones.

    python benchmarks/same_values.py OLD_REPORTS NEW_REPORTS [--tolerance 1e-12]

Both folders hold reports of the same commands. A report of one is paired with that of the other which has the same
checkpoint, probe, settings and seed. Numbers that bear another name since then are found by the table below, which
the changelog shows, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mesascope.analyses.reports.records import measure_from
from mesascope.probes.measure import Measure, flat

Record = dict[str, Any]
RENAMED: dict[str, dict[str, str]] = {"gd-alignment": {}, "induction-heads": {}, "token-norms": {}}
"""By probe, the names that measures had in reports of format 1, and those that they, or parts of them, have now."""


def reports(folder: Path) -> dict[str, Record]:
    """Every report below a folder, by what it is of."""
    found = {}
    for path in sorted(folder.rglob("report.json")):
        record = json.loads(path.read_text())
        sources = [source["weights_sha256"] for source in record["sources"]]
        settings = {name: value for name, value in record["settings"].items() if value is not None}
        found[json.dumps([record["label"], record["probe"], settings, record["seed"], sources])] = record
    return found


def measures(record: Record) -> dict[str, Measure]:
    """Every measure of a report, and every part of one, by name."""
    return flat({name: measure_from(of_one) for name, of_one in record["measures"].items()})


def numbers(measure: Measure) -> Iterator[tuple[str, np.ndarray]]:
    """The values of a measure, its interval, nulls and replicates."""
    yield "values", measure.values
    yield from zip(("low", "high"), measure.interval, strict=True)
    yield from ((f"null {name}", samples) for name, samples in measure.nulls.items())
    if measure.points is not None:
        yield "points", measure.points


def differences(old: Record, new: Record, tolerance: float) -> Iterator[str]:
    there, renamed = measures(new), RENAMED[old["probe"]]
    for name, measure in measures(old).items():
        if renamed.get(name, name) not in there:
            yield f"{name}: is gone"
            continue
        found = dict(numbers(there[renamed.get(name, name)]))
        for part, values in numbers(measure):
            if not np.isfinite(values).any() and measure.status != "ok":
                continue  # no number, then as now
            if part not in found or found[part].shape != values.shape:
                yield f"{name}, {part}: {list(values.shape)} became {list(np.shape(found.get(part)))}"
            elif not np.allclose(found[part], values, rtol=tolerance, atol=tolerance, equal_nan=True):
                yield f"{name}, {part}: differs by up to {np.nanmax(np.abs(found[part] - values)):.3g}"
    if old["heads"] != new["heads"]:
        yield "heads: other verdicts"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-12)
    options = parser.parse_args()
    old, new = reports(options.old), reports(options.new)
    found = [f"{key}: no such report" for key in old if key not in new]
    for key in old.keys() & new.keys():
        label = f"{old[key]['label']}, {old[key]['probe']}"
        found += [f"{label}: {line}" for line in differences(old[key], new[key], options.tolerance)]
    both = old.keys() & new.keys()
    compared = sum(len(old[key]["measures"]) for key in both)
    print("\n".join([*found, f"{compared} measures of {len(both)} reports: {len(found)} differences"]))
    return 1 if found or not old else 0


if __name__ == "__main__":
    raise SystemExit(main())
