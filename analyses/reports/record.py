"""Record: a result as plain data, and all it takes to make it again. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ...data.errors import UsageError
from ...data.recipe import Recipe
from ...models.opening.catalogue import PREDICTOR_FILE
from ...probes.findings import Examples, Findings
from ...probes.measure import Claim, Measure, Measures
from .digests import ARRAYS, REPORT, edited_files
from .escaping import slug
from .records import claim_from, examples_from, json_value, loads, measure_from, measure_record

FORMAT = "mesascope-report-3"
MOST_HEADS = 40
"""Heads of one verdict up to which people read their names; all stand in report.json."""
Fields = Mapping[str, Any]
AnyRecord = TypeVar("AnyRecord", bound="Record")


@dataclass(frozen=True, eq=False)
class Record:
    """What one probe found on one checkpoint, or on a family of them, and how to find it again.

    probe, probe_version:  which measurement
    settings:    the probe's fields
    sources:     where the weights came from, one record a checkpoint (the fields of `models.Source`)
    provenance:  the command, the code, the environment
    recipes:     the inputs, by the split they served
    claim:       the card that heads the report
    heads:       a verdict for each head, where the probe gives one: {"L1H0": "induction", …}
    examples:    rows of texts and numbers to look at, by name
    measures:    the numbers, by metric name; one part of a measure, by name and label: "cosine_gd"
    arrays:      raw values behind them, by name
    seed:        of everything that was drawn
    key:         digest of all that can change a number
    members:     label and key of each checkpoint's own report, in a report over several
    sample:      "kept" and "of", where arrays hold only some of the tasks
    timing:      wall time and date; the only thing that differs between two identical runs
    edited:      files of a saved report whose numbers or words were changed after mesascope wrote them
    """

    probe: str
    probe_version: str
    settings: Fields
    sources: tuple[Fields, ...]
    provenance: Fields
    recipes: Fields
    claim: Claim
    measures: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray]
    seed: int
    key: str
    heads: Fields = field(default_factory=dict)
    examples: Mapping[str, Examples] = field(default_factory=dict)
    members: tuple[Fields, ...] = ()
    sample: Fields | None = None
    timing: Fields = field(default_factory=dict)
    edited: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # what is in memory is what would be read back
        for name in ("settings", "provenance", "recipes", "heads", "sample", "timing"):
            object.__setattr__(self, name, json_value(getattr(self, name)))
        for name in ("sources", "members"):
            object.__setattr__(self, name, tuple(json_value(getattr(self, name))))
        object.__setattr__(self, "measures", Measures(self.measures))
        as_read = {name: examples_from(json_value(examples)) for name, examples in sorted(self.examples.items())}
        object.__setattr__(self, "examples", as_read)
        as_float64 = {name: np.asarray(array, dtype=np.float64) for name, array in self.arrays.items()}
        object.__setattr__(self, "arrays", as_float64)

    @property
    def label(self) -> str:
        """One word for titles and folders: the checkpoint with its revision, or the family."""
        if len(self.sources) == 1:
            return source_label(self.sources[0])
        return "+".join(dict.fromkeys(source["name"] for source in self.sources))

    @property
    def folder(self) -> Path:
        """Where the report lies below an output folder."""
        return Path(slug(self.label), slug(self.probe), self.key)

    @property
    def n_tasks(self) -> int | None:
        """Tasks along the leading axis of raw values: those evaluated, or those of them that were kept."""
        return self.sample["kept"] if self.sample else self.recipes.get("evaluation", {}).get("n")

    @property
    def findings(self) -> Findings:
        """What was found, as the probe's own figures read it."""
        recipes = {split: Recipe(**recipe) for split, recipe in self.recipes.items()}
        return Findings(self.measures, self.arrays, recipes, self.heads, self.examples)

    def record(self) -> dict[str, Any]:
        """Everything but arrays and timing, in the types of JSON and in the order of `report.json`."""
        return {
            "format": FORMAT,
            "label": self.label,
            "probe": self.probe,
            "probe_version": self.probe_version,
            "key": self.key,
            "claim": {name: json_value(text) for name, text in asdict(self.claim).items()},
            "heads": self.heads,
            "seed": self.seed,
            "settings": self.settings,
            "sources": list(self.sources),
            "members": list(self.members),
            "recipes": self.recipes,
            "measures": {name: measure_record(measure) for name, measure in self.measures.items()},
            "examples": json_value(self.examples),
            "arrays": {name: list(array.shape) for name, array in sorted(self.arrays.items())},
            "sample": self.sample,
            "provenance": self.provenance,
        }

    @classmethod
    def load(cls: type[AnyRecord], folder: str | Path) -> AnyRecord:
        """Read a saved report. Needs no torch. UsageError names the file that is missing or damaged."""
        folder = Path(folder)
        text = read_text(folder / REPORT)
        record = _parsed(text, folder / REPORT)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            found = record.get("format") if isinstance(record, dict) else type(record).__name__
            raise UsageError(f"{folder / REPORT}: its format is {found!r}, expected {FORMAT!r}; run the probe again")
        timing = folder / "timing.json"
        try:
            report = cls(
                **{name: record[name] for name in _AS_THEY_ARE},
                sources=tuple(record["sources"]),
                members=tuple(record["members"]),
                claim=claim_from(record["claim"]),
                measures={name: measure_from(measure) for name, measure in record["measures"].items()},
                examples={name: examples_from(examples) for name, examples in record["examples"].items()},
                arrays=_read_arrays(folder / ARRAYS, record["arrays"]),
                timing=read_json(timing) if timing.exists() else {},
                edited=edited_files(folder, text, record),
            )
            _check(report, record)
        except OSError as error:
            raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UsageError(damaged(folder / REPORT, error)) from error
        return report


_PROVENANCE = {"command", "python", "verification", "device", "dtype", "batch_size", "code_sha256", "environment"}
_ENVIRONMENT = {"commit", "dirty", "packages", "threads"}
_SOURCE = {"name", "revision", "path", "weights_sha256", "layout", "seed", "step", "facts", "record", "notes"}
_CODE = {"d_in", "d_out", "function", "file_sha256", "beside_sha256"}
_AS_THEY_ARE = ("probe", "probe_version", "settings", "provenance", "recipes", "heads", "seed", "key", "sample")


def source_label(source: Fields) -> str:
    """The checkpoint with its revision; the same as `models.Source.label`."""
    return f"{source['name']}-{source['revision']}" if source["revision"] else source["name"]


def code_digests(source: Fields) -> dict[str, Any]:
    """SHA-256 of the files that a predictor's code stands in, by their names; empty for every other model."""
    if source["layout"] != PREDICTOR_FILE:
        return {}
    facts = source["facts"]
    return {f"{source['path']}:{facts['function']}": facts["file_sha256"], **facts["beside_sha256"]}


def by_verdict(report: Record) -> dict[str, list[str]]:
    """The heads under each verdict, those of the commonest verdict last and only counted where they are many."""
    found: dict[str, list[str]] = {}
    for head, verdict in report.heads.items():
        found.setdefault(verdict, []).append(head)
    ordered = sorted(found.items(), key=lambda item: len(item[1]))
    return {verdict: heads if len(heads) <= MOST_HEADS else [f"{len(heads)} heads"] for verdict, heads in ordered}


def _check(report: Record, record: Fields) -> None:
    """ValueError or KeyError for what others rely on: a report may be anybody's file."""
    if not re.fullmatch(r"[0-9a-f]{16}", report.key):  # it names a folder
        raise ValueError(f"key = {report.key!r}, expected 16 hexadecimal digits")
    if report.label != record["label"]:
        raise ValueError(f"label = {record['label']!r}, expected {report.label!r}, the name of its checkpoints")
    if not all(isinstance(word, str) for word in (*report.heads, *report.heads.values())):
        raise ValueError("heads: expected a verdict for each head's name")
    whole = {"seed": report.seed, "provenance.batch_size": report.provenance["batch_size"]}
    for name, value in whole.items():
        if type(value) is not int:
            raise ValueError(f"{name} = {value!r}, expected a whole number")
    parts = [("provenance", report.provenance, _PROVENANCE), *(("source", s, _SOURCE) for s in report.sources)]
    parts.append(("provenance.environment", report.provenance["environment"], _ENVIRONMENT))
    parts += [("source.facts", s["facts"], _CODE) for s in report.sources if s["layout"] == PREDICTOR_FILE]
    for name, part, expected in parts:
        if lacking := sorted(expected - set(part)):
            raise ValueError(f"{name} lacks {', '.join(lacking)}")
    for source in report.sources:
        code_digests(source)  # TypeError for a record of code that holds something else


def read_json(path: Path) -> Any:
    """Strict JSON from a report's folder. UsageError names the file that is missing or damaged."""
    return _parsed(read_text(path), path)


def damaged(path: Path, error: Exception) -> str:
    """What to say of a file that is not what mesascope wrote."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{path}: damaged ({cause}); expected what mesascope wrote. Run the probe again"


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected the folder of a report") from error
    except ValueError as error:
        raise UsageError(f"{path}: damaged ({error}); expected strict JSON") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged ({error}); expected strict JSON") from error


def _read_arrays(path: Path, shapes: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
    try:
        arrays = load_file(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: damaged ({error}); expected a safetensors file") from error
    found = {name: list(array.shape) for name, array in arrays.items()}
    if found != shapes:
        odd = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
        raise UsageError(
            f"{path}: array {odd[0]!r} is shaped {found.get(odd[0])}, report.json says {shapes.get(odd[0])}"
        )
    return arrays
