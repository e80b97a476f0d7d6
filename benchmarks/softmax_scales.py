"""Softmax layers of several output scales: the trade-off of loss and cosine in one picture, and a table of both.

    mesascope run softmax-attention-1layer softmax-attention-1layer-c4 softmax-attention-1layer-c16 \
        --revision all -p softmax-regression -o reports
    python benchmarks/softmax_scales.py reports [-o softmax-scales.png]

A report over several seeds and steps is one row a step: the mean over seeds with its 95 % t-interval, of the loss over
that of one tuned gradient step, of the cosine of the sensitivities to that step, and of the distance of the block of
W_KQ between tokens from a multiple of the identity. A second table has, at the last step, the smallest and the largest
of the seeds that attend to similar tokens (s above 0) and of those that attend to unlike ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mesascope.analyses import Report
from mesascope.probes.drawing import page
from mesascope.probes.drawing.marks import decimal
from mesascope.probes.measure import Measure, last_step
from mesascope.probes.softmax_regression.figures.tradeoff import tradeoff_of

COLUMNS = {
    "loss / one step": "loss_over_gd",
    "cosine": "cosine_gd",
    "distance from s I": "KQ_identity_distance",
}
SIDES = {
    **COLUMNS,
    "s": "KQ_diagonal",
    "unexplained by smoothing": "unexplained_share_smoother",
    "by copying b": "unexplained_share_copy",
    "by one step": "unexplained_share_gd",
}


def reports_in(folders: list[Path]) -> list[Report]:
    """One for each output scale, from small to large: of several the one over most steps and seeds."""
    paths = sorted({path.parent for folder in folders for path in folder.rglob("report.json")})
    found = [report for path in paths if (report := Report.load(path)).probe == "softmax-regression"]
    by_scale: dict[float, Report] = {}
    for report in sorted(found, key=lambda report: len(report.sources)):
        if "output_scale" in report.measures:
            by_scale[scale_of(report)] = report
    return [by_scale[scale] for scale in sorted(by_scale)]


def scale_of(report: Report) -> float:
    return float(np.max(report.measures["output_scale"].values))


def cell(measure: Measure) -> str:
    low, high = (float(bound) for bound in measure.interval)
    return decimal(measure.estimate) + (f" [{decimal(low)}, {decimal(high)}]" if np.isfinite(low) else "")


def rows(report: Report) -> Iterator[str]:
    """Of a Markdown table."""
    measures = [report.measures[name] for name in COLUMNS.values()]
    steps = measures[0].labels("step") if "step" in measures[0].axes else ("",)
    for place, step in enumerate(steps):
        at_step = [one.at(step=place) if one.axes else one for one in measures]
        yield f"| {scale_of(report):g} | {step} | {' | '.join(map(cell, at_step))} |"


def sides(report: Report) -> Iterator[str]:
    """Rows for the seeds on either side at the last step, where the report is over several."""
    last = last_step({name: report.measures[name] for name in SIDES.values()})
    signs = last["KQ_diagonal"].points
    for chosen in () if signs is None else (signs > 0, signs < 0):
        if chosen.any():
            points = [one.points[chosen] for one in last.values() if one.points is not None]
            cells = [f"{decimal(held.min())} to {decimal(held.max())}" for held in points]
            yield f"| {scale_of(report):g} | {chosen.sum()} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="folders of reports, or folders above them")
    parser.add_argument("-o", "--output", type=Path, default=Path("softmax-scales.png"), help="PDF, SVG or PNG")
    parser.add_argument("--width", type=float, default=5.5, help="of the picture, in inches")
    options = parser.parse_args()
    reports = reports_in(options.reports)
    if not reports:
        print("no report of softmax-regression there", file=sys.stderr)
        return 2
    print(f"| c | step | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
    for report in reports:
        print(*rows(report), sep="\n")
    print(f"\n| c | seeds | {' | '.join(SIDES)} |\n|---|---|{'---|' * len(SIDES)}")
    for report in reports:
        print(*sides(report), sep="\n")
    layers = [report.findings for report in reports]
    drawn = page.render(lambda _, on: tradeoff_of(layers, on), layers[0], page.style_of("neurips", options.width))
    if drawn is not None:
        page.save(drawn[0], options.output.with_suffix(""), [options.output.suffix.removeprefix(".")])
        print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
