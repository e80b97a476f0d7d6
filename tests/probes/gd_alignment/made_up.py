"""Made-up reports of gd-alignment, of every kind: for its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mesascope.analyses.reports.report import Report
from mesascope.data import Recipe
from mesascope.probes.gd_alignment.figures.shifts import SHIFTS
from mesascope.probes.measure import Claim, Measure, along, missing

D = 10
AXES = {
    **dict.fromkeys(
        ("loss", "loss_difference", "cosine", "norm_ratio", "model_difference", "prediction_difference"),
        ("candidate",),
    ),
    **{f"loss_{test}": ("candidate",) for test in (*SHIFTS, "rollout", "by_layer")},
    **{f"{metric}_by_layer": ("candidate",) for metric in ("cosine", "model_difference", "prediction_difference")},
    **dict.fromkeys(("curvature_eigenvalues", "curvature_spread"), ("candidate",)),
    "loss_path": ("candidate", "path"),
    "barrier": ("candidate", "path"),
    "weight_distance": ("candidate", "control"),
}
LOSS = "half squared label"


@dataclass
class MadeUp:
    """Plausible numbers for a report on one checkpoint, on several seeds, or on several seeds at several steps."""

    n_layers: int = 1
    seeds: int = 0
    steps: tuple[int, ...] = ()
    parts: dict[tuple[str, ...], Measure] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self._losses()
        self._alignment()
        self._curves()
        self._depth()
        self._weights()

    def report(self) -> Report:
        settings = {"input_range": 1.0, "weight_scale": 1.0}
        sources = [{"name": f"lsa-{self.n_layers}layer", "revision": f"seed{i}"} for i in range(max(self.seeds, 1))]
        recipes = {"evaluation": Recipe("made up", settings, 0, 1, "0" * 64).as_dict()}
        return Report(
            "gd-alignment", "1", {}, tuple(sources), {}, recipes,
            Claim("", "", "", (), "", ()), self.measures(), self.arrays, 0, "0" * 16,
        )  # fmt: skip

    def measures(self) -> dict[str, Measure]:
        """The parts, put together as the probe puts them."""
        found: dict[str, Any] = {}
        for (metric, *labels), part in self.parts.items():
            held = found
            for label in (metric, *labels)[:-1]:
                held = held.setdefault(label, {})
            held[(metric, *labels)[-1]] = part
        return {metric: self._stacked(held, AXES.get(metric, ())) for metric, held in found.items()}

    def _stacked(self, held: Any, axes: tuple[str, ...]) -> Measure:
        if isinstance(held, Measure):
            return held
        axis, *inner = axes
        parts = {label: self._stacked(part, tuple(inner)) for label, part in held.items()}
        leading = any(part.axes[:1] == ("step",) for part in parts.values())
        return along(axis, parts, place=1 if leading else 0)

    @property
    def constructed(self) -> list[str]:
        return ["gd"] if self.n_layers == 1 else ["gd", "gdpp"]

    @property
    def algorithms(self) -> list[str]:
        return ["zero", "mean_label", "ridge", "min_norm", *(f"gd_{k + 1}" for k in range(2 * self.n_layers))]

    def put(self, name: str | tuple[str, ...], values: Any, unit: str, spread: float = 0.01, **keywords: Any) -> None:
        """A measure around these values; over steps it approaches them from three times as much."""
        name = (name,) if isinstance(name, str) else name
        values = np.asarray(values, dtype=np.float64)
        axes = tuple(keywords.pop("axes", ()))
        if self.steps:
            fade = np.exp(-np.array(self.steps) / 1500.0).reshape(-1, *[1] * values.ndim)
            start = 0.0 if unit == "cosine" else 1.0 if name in (("loss", "gd"), ("loss", "gdpp")) else 2.0
            values = values * (1 - fade + start * fade)
            axes = ("step", *axes)
            keywords["coords"] = {"step": self.steps} | keywords.get("coords", {})
            keywords["nulls"] = {k: np.stack([v] * len(self.steps), 1) for k, v in keywords.get("nulls", {}).items()}
        half = spread * np.abs(values)
        if self.seeds:
            noise = self.rng.normal(size=(self.seeds, *values.shape)) * half
            keywords["points"] = values + noise
        replicate, n = ("seed", self.seeds) if self.seeds else ("task", 10_000)
        if not keywords.get("nulls"):
            keywords["no_nulls"] = "a loss is compared with candidates"
        interval = (np.asarray(values - half), np.asarray(values + half))
        self.parts[name] = Measure(np.asarray(values), unit, interval, replicate, n, axes=axes, **keywords)

    def _losses(self) -> None:
        level = {"model": 0.2062, "gd": 0.2064, "zero": 0.4167, "mean_label": 0.41, "ridge": 0.19, "min_norm": 0.31}
        level |= {f"gd_{k + 1}": 0.2064 * 0.8**k for k in range(2 * self.n_layers)}
        if self.n_layers > 1:
            level |= {"model": 0.121, "gd": 0.165, "gdpp": 0.1205}
        for name in ["model", *self.constructed, *self.algorithms]:
            self.put(("loss", name), level[name], LOSS, 0.015)
            if name != "model":
                self.put(("loss_difference", name), level["model"] - level[name], LOSS, 0.05)
        self.put("loss_interpolated", level["model"] * 1.002, LOSS)

    def _alignment(self) -> None:
        cosine = {"gd": 0.9993, "gdpp": 0.9962, "ridge": 0.991, "min_norm": 0.72, "gd_1": 0.9993, "gd_2": 0.97}
        cosine |= {f"gd_{k + 3}": 0.94 - 0.03 * k for k in range(2 * self.n_layers - 2)}
        if self.n_layers > 1:
            cosine |= {"gd": 0.952, "ridge": 0.988}
        untrained = self.rng.normal(0, 0.04, 50)
        shuffled = self.rng.normal(0.12, 0.003, 20)
        for name in [*self.constructed, *self.algorithms]:
            if name in ("zero", "mean_label"):
                self.parts["cosine", name] = missing("cosine", "undefined", "its prediction ignores the query")
                self.parts["norm_ratio", name] = missing("ratio", "undefined", "its prediction ignores the query")
            else:
                nulls = {"untrained": untrained, "shuffled labels": shuffled}
                self.put(("cosine", name), cosine[name], "cosine", (1 - cosine[name]) / 10, nulls=nulls)
                self.put(("norm_ratio", name), 1 + (1 - cosine[name]), "ratio")
            self.put(("model_difference", name), 0.05 + 3 * (1 - cosine.get(name, 0.5)), "label / input", 0.05)
            self.put(("prediction_difference", name), 0.01 + (1 - cosine.get(name, 0.5)), "label", 0.05)
        if self.seeds:
            self.put("cosine_between_seeds", 0.9991, "cosine", 0.0002, no_nulls="it is the ceiling itself")
        matrix = np.array([[cosine.get(a, 0) * cosine.get(b, 0) for a in self.algorithms] for b in self.algorithms])
        matrix[:2] = matrix[:, :2] = np.nan
        np.fill_diagonal(matrix[2:, 2:], 1.0)
        names = tuple(self.algorithms)
        coords = {"candidate": names, "other_candidate": names}
        message = "undefined where a prediction ignores the query"
        self.put("candidate_cosines", matrix, "cosine", axes=tuple(coords), coords=coords, message=message)

    def _curves(self) -> None:
        scale = np.linspace(0.5, 2, 16)
        for i, name in enumerate(["model", *self.constructed]):
            for test, x, y in (
                ("input_scale", scale, 0.2 * scale**2 * (1 + (0.3 + 0.1 * i) * (scale - 1) ** 4)),
                ("weight_scale", np.linspace(0.5, 5, 10), (0.2 + 0.01 * i) * np.linspace(0.5, 5, 10) ** 2),
                ("other_distributions", np.linspace(0.5, 5, 10), 0.001 * np.linspace(0.5, 5, 10) ** (6 + i)),
                ("other_distributions_weight_scale", np.linspace(0.5, 5, 10), 0.02 * np.linspace(0.5, 5, 10) ** 2),
            ):
                axis = "weight_scale" if "weight_scale" in test else "input_range"
                self.put((f"loss_{test}", name), y, LOSS, 0.05, axes=(axis,), coords={axis: tuple(x)})
            corrupted = {"axes": ("n_corrupted",), "coords": {"n_corrupted": (0, 2, 4, 6, 8)}}
            self.put(("loss_noisy_labels", name), 0.2 + (0.08 + i / 100) * np.arange(5), LOSS, **corrupted)
        dampenings, rolled = (1.0, 0.875, 0.75), tuple(range(1, 51))
        coords: dict[str, Any] = {"dampening": dampenings, "rollout_step": rolled}
        for name in ("model", "gd") if self.n_layers == 1 else ():
            fall = np.stack([0.06 + 0.35 * (1.35 - 0.6 * factor) ** np.arange(50) for factor in dampenings])
            self.put(("loss_rollout", name), fall, LOSS, axes=tuple(coords), coords=coords)

    def _depth(self) -> None:
        """Of more than one layer, as of one that had no panel of its own."""
        depth = np.arange(self.n_layers)
        by_layer: dict[str, Any] = {"axes": ("layer",)}
        for name, level in {"model": 0.5, "gd": 0.3, "gdpp": 0.55}.items():
            if name in ("model", *self.constructed):
                self.put(("loss_by_layer", name), level / (1 + depth), LOSS, **by_layer)
        for name in self.constructed:
            self.put(("cosine_by_layer", name), 1 - 0.01 * (1 + depth), "cosine", 0.001, **by_layer)
            self.put(("model_difference_by_layer", name), 1 / (1 + depth), "label / input", **by_layer)
            self.put(("prediction_difference_by_layer", name), 0.2 / (1 + depth), "label", **by_layer)
        coords: dict[str, Any] = {"layer": ("inputs", *range(self.n_layers - 1)), "rank": tuple(range(1, D + 1))}
        for name, gamma in {"model": 0.17, "gd": 0.0, "gdpp": 0.18}.items() if self.n_layers > 1 else ():
            rows = [2.5 * 0.7 ** np.arange(D)]
            for _ in depth[1:]:
                rows.append(rows[-1] * (1 - gamma * rows[-1]) ** 2)
            spectrum = np.stack(rows)
            self.put(("curvature_eigenvalues", name), spectrum, "squared input", axes=tuple(coords), coords=coords)
            spread = spectrum.std(axis=1) / spectrum.mean(axis=1)
            held = {"axes": ("layer",), "coords": {"layer": coords["layer"]}}
            self.put(("curvature_spread", name), spread, "relative", **held)

    def _weights(self) -> None:
        t = np.linspace(0, 1, 21)
        axis: dict[str, Any] = {"axes": ("t",), "coords": {"t": tuple(t)}}
        for name in self.constructed:
            bump = t * (1 - t)
            self.put(("loss_path", name, "aligned"), 0.2062 + 0.0008 * t + 0.004 * bump, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "unaligned"), 0.2062 + 1.9 * bump, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "wrong_rate"), 0.2062 + 0.1 * t**2, LOSS, 0.015, **axis)
            self.put(("loss_path", name, "rotated"), 0.5 - 0.29 * t, LOSS, 0.015, **axis)
            barriers = {"aligned": 0.0008, "unaligned": 0.486, "wrong_rate": 0.0002, "rotated": 0.003}
            for path, barrier in barriers.items():
                self.put(("barrier", name, path), barrier, LOSS, 0.2)
            for control, distance in {"trained": 0.1, "wrong_rate": 0.07, "rotated": 0.21}.items():
                self.put(("weight_distance", name, control), distance, "relative Frobenius distance")
            self._products(name)

    def _products(self, name: str) -> None:
        kq, pv = np.diag([1.0] * D + [0.0]), np.diag([0.0] * D + [-0.606])
        if name == "gdpp":
            pv = np.diag([-0.018] * D + [-0.5])
        for product, value in {"KQ": kq, "PV": pv}.items():
            stack = np.broadcast_to(value, (self.n_layers, 1, D + 1, D + 1)).copy()
            stack = np.stack([stack] * self.seeds) if self.seeds else stack
            self.arrays[f"{product}_{name}"] = stack
            self.arrays[f"{product}_aligned"] = stack + 0.01 * self.rng.normal(size=(D + 1, D + 1))
