"""Strict JSON: how a report's fields become text and come back. NaN is null; infinities are "Infinity", "-Infinity"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...probes.findings import Examples
from ...probes.measure import Claim, Measure


def json_value(value: Any) -> Any:
    """`value` in the types of JSON, keys sorted: what is saved equals what is loaded."""
    if isinstance(value, Mapping):
        return {str(key): json_value(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_value(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str | int | float) or value is None:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return json_value(asdict(value))
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} in a report; expected numbers, text, lists and mappings")


def dumps(value: Any, indent: str = "") -> str:
    """Strict JSON for people and for `diff`: one line a field, lists of plain values on one line. ASCII only."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        items = [f"{inner}{json.dumps(key)}: {dumps(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value):
        return "[\n" + ",\n".join(inner + dumps(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def loads(text: str) -> Any:
    """Parse strict JSON. ValueError for NaN, Infinity and duplicate keys, which `json` would let pass."""
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("one object has the same key twice")
    return found


def measure_record(measure: Measure) -> dict[str, Any]:
    """A measure in the types of JSON."""
    low, high = measure.interval
    return {
        "values": json_value(measure.values),
        "unit": measure.unit,
        "interval": {"low": json_value(low), "high": json_value(high)},
        "replicate": measure.replicate,
        "n": measure.n,
        "axes": list(measure.axes),
        "coords": {axis: json_value(labels) for axis, labels in measure.coords.items()},
        "nulls": {name: json_value(samples) for name, samples in measure.nulls.items()},
        "no_nulls": measure.no_nulls,
        "points": json_value(measure.points),
        "higher_is_better": measure.higher_is_better,
        "status": measure.status,
        "message": measure.message,
        "own": json_value(measure.own),
    }


def measure_from(record: Mapping[str, Any]) -> Measure:
    """The measure of a record. KeyError, TypeError or ValueError when it is not one."""
    fields = dict(record)
    values = np.array(fields.pop("values"), dtype=np.float64)
    interval = fields.pop("interval")
    nulls, points, coords = (fields.pop(name) for name in ("nulls", "points", "coords"))

    def samples(nested: Any) -> np.ndarray:
        return np.array(nested, dtype=np.float64).reshape(-1, *values.shape)

    return Measure(
        values,
        interval=(np.array(interval["low"], dtype=np.float64), np.array(interval["high"], dtype=np.float64)),
        axes=tuple(fields.pop("axes")),
        coords={axis: tuple(labels) for axis, labels in coords.items()},
        nulls={name: samples(nested) for name, nested in nulls.items()},
        points=None if points is None else samples(points),
        **fields,
    )


def claim_from(record: Mapping[str, Any]) -> Claim:
    fields = dict(record)
    return Claim(limits=tuple(fields.pop("limits")), citations=tuple(fields.pop("citations")), **fields)


def examples_from(record: Mapping[str, Any]) -> Examples:
    return Examples(tuple(record["columns"]), tuple(map(tuple, record["rows"])))
