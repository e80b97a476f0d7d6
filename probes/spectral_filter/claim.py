"""The claim card of spectral-filter: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from ...models.subject import Source
from ..comparing.numbers import Number, number, rounded
from ..comparing.verdicts import percent, percent_with_interval
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.sign import turned_words
from .filter_measures import JACOBIAN
from .limits import limits
from .names import EFFECTIVE, EXACT, MOST_DEGREES, OF_THE_CURVE, SAME, UNTRAINED
from .standing import Standing, standings

CITATIONS = (
    "L. Lo Gerfo, L. Rosasco, F. Odone, E. De Vito, A. Verri. Spectral algorithms for supervised learning. Neural"
    " Computation 20, 2008.",
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
    "D. Fu, T. Chen, R. Jia, V. Sharan. Transformers learn to achieve second-order convergence rates for in-context"
    " linear regression. NeurIPS 2024. arXiv:2310.17086.",
    "A. Giannou, L. Yang, T. Wang, D. Papailiopoulos, J. D. Lee. How well can transformers emulate in-context Newton's"
    " method? 2024. arXiv:2403.03183.",
)


def filter_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    found = standings(measures)
    if not found:
        return _nothing(measures, sources)
    output = found[-1]
    exact = JACOBIAN not in measures["off_filter_share"].message
    return Claim(
        found=turned_words(measures) + _found(output) + _layers(found[:-1]),
        rival=_rival(output),
        evidence=_evidence(output, exact),
        limits=limits(found, measures, sources, tasks_file, sign, exact),
        methods=_methods(measures, tasks_file),
        citations=CITATIONS,
        badge=_badge(output),
    )


def _nothing(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
    why = measures["off_filter_share"]
    return Claim(
        found=f"Nothing was measured: {why.message}.",
        rival="None.",
        evidence="None.",
        limits=notes(sources),
        methods=_methods(measures, None),
        citations=CITATIONS,
        badge="Not applicable" if why.status == "not applicable" else "Weights are not finite",
    )


def _found(output: Standing) -> str:
    if output.called == "empty":
        return "The output has no weights that could be filtered: it does not depend on the query."
    off = percent_with_interval(output.off)
    if output.called == "not linear":
        share = percent_with_interval(output.not_linear)
        return f"The output is no spectral filter: {share} of its answers, by square, is not linear in the query."
    if output.called == "none":
        return f"The output is no spectral filter: {off} of its weights, by square, is none."
    title = output.title(output.rule, settings=True)
    if output.called == "partly":
        return (
            f"The output is only in part a spectral filter: {off} of its weights, by square, is none. The closest named"
            f" filter is that of {title}."
        )
    if output.called == "unnamed":
        share = percent_with_interval(output.share(output.rule))
        return (
            f"The output is a spectral filter, but none of the named ones: that of {title} leaves {share} of its"
            f" weights, by square, unexplained, the best filter {percent(output.off)}."
        )
    found = f"The output filters the spectrum like {title}: {off} of its weights, by square, is no filter."
    if output.called == "untrained alike":
        return f"{found} So does some untrained model of its architecture: any of their weights may be near a filter."
    return found + f" As close: {output.titles(output.alike)}." * bool(output.alike)


def _layers(before: Sequence[Standing]) -> str:
    """The layers before the last, those of one kind together."""
    said = [_group(kind, list(held)) for kind, held in groupby(before, key=_kind)]
    return f" A{'; a'.join(said)}." if said else ""


def _kind(layer: Standing) -> str:
    if layer.called in ("named", "untrained alike"):
        return layer.rule
    return {"partly": "a filter in part", "unnamed": "another filter"}.get(layer.called, "no filter")


def _group(kind: str, layers: Sequence[Standing]) -> str:
    """ "fter layers 1 to 3: 1 to 3 steps of gradient descent", behind an "a" of either size."""
    words = f"fter layer{'s' * (len(layers) > 1)} {_counts([layer.layer + 1 for layer in layers])}"
    if not layers[0].has("unexplained_share", kind):
        return f"{words}: {kind}"
    family = layers[0].family(kind)
    if family.tried:
        steps = [layer.steps(kind) for layer in layers]
        counts = [one[0] for one in steps] if all(len(one) == 1 for one in steps) else sorted({*sum(steps, ())})
        return f"{words}: {_counts(counts)} {family.noun}{'s' * (counts != [1])} of {family.words}"
    values = [rounded(layer.setting(kind, one.name)) for one in family.settings for layer in (layers[0], layers[-1])]
    at = [f" ({family.settings[0].name} {' to '.join(dict.fromkeys(values))})"] if values else [""]
    return f"{words}: {family.words}{at[0]}"


def _counts(numbers: Sequence[int]) -> str:
    """ "1 to 4", "1, 3, 9"."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
        return f"{first} to {last}"
    return ", ".join(map(str, numbers))


def _badge(output: Standing) -> str:
    return {
        "empty": "No weights to filter",
        "not linear": "No filter",
        "none": "No filter",
        "partly": f"In part a filter, {percent(output.off)} is none",
        "unnamed": "A filter, but none of the named ones",
        "untrained alike": "A filter, as some untrained model is",
    }.get(output.called) or f"Filters like {output.title(output.rule)}" + " and others" * bool(output.alike)


def _rival(output: Standing) -> str:
    """The next named filter, and how far untrained models are from any."""
    said = []
    if output.called not in ("empty", "none", "not linear") and output.next is not None:
        gap = percent(number(output.of("further_share", output.next)))
        said.append(f"Next: {output.title(output.next)}, which leaves {gap} of its weights, by square, more.")
    untrained = output.untrained
    if untrained is not None:
        mean, least = (percent(Number(float(value), np.nan, np.nan)) for value in (untrained.mean(), untrained.min()))
        said.append(f"Of untrained models {mean} is no filter (the least of {len(untrained)}: {least}).")
    return " ".join(said) or "Nothing was compared."


def _evidence(output: Standing, exact: bool) -> str:
    """What was resampled, and what W and its polynomial are."""
    off = output.measures["off_filter_share"]
    if off.replicate == "none":
        return "None."
    fitted = " that no filter was fitted to" * (off.replicate == "task")
    said = [f"{off.n:,} {off.replicate}s{fitted}."]
    said.append("The weights follow in closed form." if exact else "The weights are derivatives at the query.")
    if output.called in ("named", "unnamed", "untrained alike"):
        said.append(_degree(output))
    return " ".join(said)


def _degree(output: Standing) -> str:
    """Of the filter as a polynomial."""
    near, exactly = (output.degree(kind) for kind in (EFFECTIVE, EXACT))
    if near is None:
        return f"The filter is near no polynomial in Xᵀ X of degree up to {MOST_DEGREES}."
    itself = f" and is one of degree {exactly}" if exactly is not None else ""
    return f"The filter is near a polynomial in Xᵀ X of degree {near}{itself}."


def _methods(measures: Mapping[str, Measure], tasks_file: str | None) -> str:
    off = measures["off_filter_share"]
    source = "supplied by the user" if tasks_file else "freshly drawn"
    paired = off.replicate == "task"
    interval = f"bootstrap over {off.n:,} tasks" if paired else f"t-interval over {off.n} {off.replicate}s"
    null = f" Null: {len(off.nulls[UNTRAINED])} untrained models." if UNTRAINED in off.nulls else ""
    return (
        "The model's weights W, the derivative of its answer by the query, were compared with the minimum-norm solution"
        " W* of each context along the eigenvectors of Xᵀ X / N. The response g of a bin of eigenvalues is the"
        " least-squares ratio of W to W*. Named filters and a free curve, with a level and a slope in each bin, were"
        f" fitted to tuning tasks and judged on others ({source}) by the share of E|W|² that they leave. Filters within"
        f" {SAME:g} are as close; one within {OF_THE_CURVE:g} of the free curve is named.{null}"
        f" 95 % confidence intervals: {interval}."
    )
