"""Every figure of some reports on contact sheets, to be looked at: `python benchmarks/gallery.py REPORT... [-o DIR]`.

Each report is drawn as wide as a column (3.25 inches) and as a page (6.75 inches): DIR/LABEL-PROBE-WIDTH.png holds all
its figures side by side, with the name above each. Pages of reports are pictured in a browser, in light and dark and as
wide as a screen and a phone, where `chromium` is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mesascope.analyses import Report
from mesascope.analyses.reports.escaping import slug
from mesascope.analyses.reports.figures import figures_of
from mesascope.probes.drawing import page
from PIL import Image, ImageDraw

WIDTHS = (3.25, 6.75)
SHEET, MARGIN, HEADER = 2400, 10, 16  # pixels
DPI = 150
SCREENS = {"screen": (1280, 3200), "phone": (390, 3200)}
BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--hide-scrollbars",
]  # fmt: skip


def pictures(report: Report, width: float, folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every figure that has something to draw, by name."""
    for name, build in figures_of(report.probe).items():
        drawn = page.render(build, report.findings, page.style_of("icml", width))
        if drawn is None:
            continue
        (path,) = page.save(drawn[0], folder / name, ["png"])
        with Image.open(path) as picture:
            scale = DPI / float(picture.info["dpi"][0])
            yield name, picture.convert("RGB").resize((round(picture.width * scale), round(picture.height * scale)))


def sheet(named: list[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures row by row, each under its name."""
    places, x, y, tall = [], MARGIN, MARGIN, 0
    for _, picture in named:
        if x > MARGIN and x + picture.width > SHEET:
            x, y, tall = MARGIN, y + tall + HEADER + MARGIN, 0
        places.append((x, y))
        x, tall = x + picture.width + MARGIN, max(tall, picture.height)
    made = Image.new("RGB", (SHEET, y + tall + HEADER + MARGIN), "#D0D0D0")
    pen = ImageDraw.Draw(made)
    for (name, picture), (left, top) in zip(named, places, strict=True):
        pen.text((left, top), name, fill="black")
        made.paste(picture, (left, top + HEADER))
    return made


def page_pictures(html: Path, stem: Path) -> Iterator[Path]:
    """The page of a report as a browser shows it."""
    browser = shutil.which("chromium")
    if browser is None:
        return
    for screen, size in SCREENS.items():
        for scheme, number in (("light", 1), ("dark", 0)):
            target = stem.with_name(f"{stem.name}-{screen}-{scheme}.png")
            with tempfile.TemporaryDirectory() as profile:
                options = [
                    f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", f"--screenshot={target}",
                    f"--blink-settings=preferredColorScheme={number}",
                ]  # fmt: skip
                subprocess.run([browser, *BROWSER, *options, html.resolve().as_uri()], check=True, capture_output=True)
            yield target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="folders of reports, or folders above them")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path("gallery"))
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    folders = sorted({path.parent for given in options.reports for path in given.rglob("report.json")})
    for folder in folders:
        report = Report.load(folder)
        stem = options.output_dir / slug(f"{report.label}-{report.probe}-{report.key[:6]}")
        for width in WIDTHS:
            with tempfile.TemporaryDirectory() as scratch:
                drawn = list(pictures(report, width, Path(scratch)))
            if drawn:
                target = stem.with_name(f"{stem.name}-{width:g}in.png")
                sheet(drawn).save(target)
                print(target)
        if (folder / "report.html").is_file():
            for path in page_pictures(folder / "report.html", stem):
                print(path)
    return 0 if folders else 2


if __name__ == "__main__":
    sys.exit(main())
