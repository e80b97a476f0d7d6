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
from mesascope.probes.measure import Measure

Record = dict[str, Any]
HEADS = ("induction_head", "previous_token_head", "duplicate_token_head")
DEFINITIONS = (
    "olsson_per_query",
    "olsson_per_entry",
    "arena_stripe",
    *(f"detect_head_{head}_{error}" for head in HEADS for error in ("mul", "abs")),
)
CONSTRUCTED = ("gd", "gdpp")
RENAMED: dict[str, dict[str, str]] = {
    "gd-alignment": {
        "rival_cosines": "candidate_cosines",
        **{
            f"{metric}_{name}": f"{metric}_{name}_aligned"
            for metric in ("loss_path", "barrier")
            for name in CONSTRUCTED
        },
        **{f"weight_distance_{name}": f"weight_distance_{name}_trained" for name in CONSTRUCTED},
        **{
            f"weight_distance_{product.lower()}{suffix}_{name}": f"product_distance_{name}_{product}_{entries}"
            for product in ("KQ", "PV")
            for suffix, entries in (("", "live"), ("_dead", "dead"))
            for name in CONSTRUCTED
        },
        **{
            f"{metric}_other_seed": f"{metric}_between_seeds"
            for metric in (
                "cosine",
                "prediction_difference",
                "model_difference",
                "loss_path",
                "barrier",
                "weight_distance",
            )
        },
    },
    "induction-heads": {
        **{
            f"{name}_composition": f"composition_{read_by}"
            for name, read_by in (("q", "queries"), ("k", "keys"), ("v", "values"))
        },
        **{f"compatibility_{definition}": f"compatibility_score_{definition}" for definition in DEFINITIONS},
    },
    "token-norms": {
        "norm_resid": "stream_norm",
        "spearman_resid": "stream_spearman",
        "partial_spearman_resid": "partial_stream_spearman",
        **{
            f"{old}_{site}": f"{new}_{site}"
            for site in ("embed", "final_norm")
            for old, new in (
                ("norm", "norm_outside_blocks"),
                ("spearman", "spearman_outside_blocks"),
                ("partial_spearman", "partial_spearman_outside_blocks"),
            )
        },
        "norm_embedding_rows": "norm_rows_W_E",
        "norm_unembedding_rows": "norm_rows_W_U",
    },
}
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
    """Every measure of a report, and every part of one and part of a part, by name."""
    return {
        key: part for name, of_one in record["measures"].items() for key, part in with_parts(name, measure_from(of_one))
    }


def with_parts(name: str, measure: Measure) -> Iterator[tuple[str, Measure]]:
    yield name, measure
    for label, part in measure.apart().items():
        yield from with_parts(f"{name}_{label}", part)


def without_padding(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values whose last axis became longer, so that parts can share it, without the places that hold no number."""
    padded = values.ndim == len(shape) > 0 and values.shape[-1] > shape[-1]
    return values[..., np.isfinite(values).any(axis=tuple(range(values.ndim - 1)))] if padded else values


def numbers(measure: Measure) -> Iterator[tuple[str, np.ndarray]]:
    """The values of a measure, its interval, nulls and replicates; axes with a single label are left out."""
    yield "values", measure.values.squeeze()
    yield from ((name, bound.squeeze()) for name, bound in zip(("low", "high"), measure.interval, strict=True))
    yield from ((f"null {name}", samples.squeeze()) for name, samples in measure.nulls.items())
    if measure.points is not None:
        yield "points", measure.points.squeeze()


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
            if part in found:
                found[part] = without_padding(found[part], values.shape)
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
