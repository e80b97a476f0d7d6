"""The claim card of gd-alignment: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..measure import Claim, Measure
from .splits import recorded_law

TITLES = {
    "gd": "gradient descent",
    "gdpp": "GD++",
    "zero": "the zero predictor",
    "mean_label": "the mean label",
    "ridge": "ridge regression",
    "min_norm": "least squares of minimum norm",
}
CITATIONS = (
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)
HARD_TO_SEPARATE = 0.99
FLOOR = ("zero", "mean_label")


def gd_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, law: Mapping[str, float]
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step.

    law: what the user changed of the law of generated tasks
    """
    ranking = _ranking(measures)
    if not ranking:
        return _nothing_finite(measures, sources, tasks_file)
    closest = ranking[0]
    runner_up = next(name for name in ranking if not _same_hypothesis(closest, name, measures))
    layers = sources[0].facts.get("n_layers")
    return Claim(
        found=_found(measures, closest, runner_up),
        rival=_rival(measures, closest, runner_up),
        evidence=_evidence(measures, sources),
        limits=(
            *_limits(measures, closest, ranking, layers),
            *_about_tasks(measures, sources, tasks_file, law),
            *dict.fromkeys(note for source in sources for note in source.notes),
        ),
        methods=_methods(measures, layers, tasks_file),
        citations=CITATIONS,
    )


def _ranking(measures: Mapping[str, Measure]) -> list[str]:
    """Twins and rivals, the closest to the model's predictions first; one that diverges is no candidate."""
    if measures["closeness_margins"].status != "ok":
        return []
    names = measures["closeness_margins"].labels("rival")
    finite = [name for name in names if measures[f"prediction_difference_{name}"].status == "ok"]
    return sorted(finite, key=lambda name: measures[f"prediction_difference_{name}"].estimate)


def _nothing_finite(measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None) -> Claim:
    return Claim(
        found="The model's predictions on these tasks are not finite: there is nothing to compare.",
        rival="No rival was ranked.",
        evidence="None.",
        limits=tuple(dict.fromkeys(note for source in sources for note in source.notes)),
        methods=_methods(measures, sources[0].facts.get("n_layers"), tasks_file),
        citations=CITATIONS,
    )


def _same_hypothesis(a: str, b: str, measures: Mapping[str, Measure]) -> bool:
    """The GD twin and the rival of as many steps differ only in what their rate was fitted to."""
    steps = {name for name in measures["closeness_margins"].labels("rival") if name.startswith("gd_")}
    own_steps = f"gd_{len(steps) // 2}"
    return a == b or {a, b} == {"gd", own_steps}


def title(name: str) -> str:
    """A twin or rival in words."""
    if name.startswith("gd_"):
        steps = int(name.removeprefix("gd_"))
        return f"gradient descent with {steps} step{'s' * (steps > 1)}"
    return TITLES[name]


def number(measure: Measure, digits: int = 3) -> str:
    """An estimate with its interval, or why there is none."""
    if measure.status != "ok":
        return f"{measure.status} ({measure.message})"
    low, high = (float(bound) for bound in measure.interval)
    interval = "" if np.isnan(low) else f" [{low:.{digits}g}, {high:.{digits}g}]"
    return f"{measure.estimate:.{digits}g}{interval}"


def _margin(measures: Mapping[str, Measure], closest: str, other: str) -> tuple[float, float, float]:
    margins = measures["closeness_margins"]
    place = margins.labels("rival").index(closest), margins.labels("rival_2").index(other)
    low, high = margins.interval
    return float(margins.values[place]), float(low[place]), float(high[place])


def _found(measures: Mapping[str, Measure], closest: str, runner_up: str) -> str:
    margin, low, high = _margin(measures, closest, runner_up)
    gap, cosine = measures[f"prediction_difference_{closest}"], measures[f"cosine_{closest}"]
    if closest in FLOOR:
        return (
            f"No explanation on the list comes closer to the model than {title(closest)}"
            f" (prediction difference {number(gap)}): the model does not use the context as any of them does."
        )
    if not low > 0:
        return (
            f"These tasks do not separate {title(closest)} from {title(runner_up)} as explanations of this model:"
            f" prediction differences {number(gap)} and {number(measures[f'prediction_difference_{runner_up}'])}."
        )
    return (
        f"Closest of these rivals to the model is {title(closest)} (prediction difference {number(gap)},"
        f" sensitivity cosine {number(cosine, 4)}), ahead of {title(runner_up)}"
        f" by {margin:.3g} [{low:.3g}, {high:.3g}]."
    )


def _rival(measures: Mapping[str, Measure], closest: str, runner_up: str) -> str:
    margin, low, high = _margin(measures, closest, runner_up)
    words = [
        f"Strongest rival: {title(runner_up)}, prediction difference"
        f" {number(measures[f'prediction_difference_{runner_up}'])}, {margin:.3g} [{low:.3g}, {high:.3g}] further away;"
        f" its sensitivity cosine with the model is {number(measures[f'cosine_{runner_up}'])}."
    ]
    for null, samples in measures[f"cosine_{closest}"].nulls.items():
        low, high = np.quantile(samples, (0.025, 0.975))
        words.append(f"Null ({null}): cosine {samples.mean():.2f}, 95 % of {len(samples)} in [{low:.2f}, {high:.2f}].")
    return " ".join(words)


def _evidence(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> str:
    loss = measures["loss_model"]
    plural = "s" * (loss.n != 1)
    interval = "t-interval over" if loss.replicate == "seed" else "paired bootstrap over"
    checkpoints = f" {len(sources)} checkpoints." if len(sources) > 1 else ""
    return f"95 % intervals: {interval} {loss.n:,} {loss.replicate}{plural}.{checkpoints}"


def _limits(measures: Mapping[str, Measure], closest: str, ranking: list[str], layers: int | None) -> list[str]:
    limits = ["Agreement on these tasks does not show that the model computes what the closest rival computes."]
    if layers == 1:
        limits.append(_one_layer(measures))
    alike = _hard_to_separate(measures, closest, ranking)
    if alike:
        limits.append(
            f"In sensitivity cosine these tasks hardly separate {title(closest)} from {alike}"
            f" (above {HARD_TO_SEPARATE})."
        )
    limits.append("A cosine compares directions only; read the norm ratio and the prediction difference beside it.")
    if any(name.startswith("barrier_") and m.status == "ok" for name, m in measures.items()):
        limits.append("A barrier means nothing without the losses at both ends and the weight distance.")
        if layers == 1:
            limits.append("With one layer the loss is convex along the mixture: a zero barrier is no evidence.")
    return limits


def _about_tasks(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, law: Mapping[str, float]
) -> list[str]:
    """What was assumed about the tasks, or asked for instead of those of training."""
    if tasks_file is not None:
        loss = measures["loss_model"]
        single = loss.replicate == "task" and loss.n == 1
        return ["A single task: settings that were not given were fitted on the very task that is evaluated."] * single
    asked = ", ".join(f"{name} = {value:g}" for name, value in law.items())
    if not all(recorded_law(source.record) for source in sources):
        used = f"the paper's law was used, changed to {asked}" if asked else "the paper's law with N = d_in was used"
        return [f"The checkpoint does not record its training tasks; {used}."]
    return [f"The tasks were changed from those of training, as asked: {asked}."] * bool(asked)


def _one_layer(measures: Mapping[str, Measure]) -> str:
    words = "With one layer the sensitivity cosine does not depend on the learning rate"
    if "cosine_by_gd_rate" not in measures:
        return words + "."
    rates = measures["cosine_by_gd_rate"]
    cosines = ", ".join(f"{value:.4f}" for value in rates.values)
    factors = ", ".join(f"{factor:g}" for factor in rates.labels("rate_factor"))
    return f"{words}: twins at {factors} times the fitted rate have cosines {cosines}."


def _hard_to_separate(measures: Mapping[str, Measure], closest: str, ranking: list[str]) -> str:
    cosines = measures["rival_cosines"]
    names = cosines.labels("rival")
    row = dict(zip(names, cosines.values[names.index(closest)], strict=True))
    others = [n for n in ranking if n != closest and not _same_hypothesis(closest, n, measures)]
    return ", ".join(title(name) for name in others if row[name] > HARD_TO_SEPARATE)


def _methods(measures: Mapping[str, Measure], layers: int | None, tasks_file: str | None) -> str:
    loss = measures["loss_model"]
    source = "tasks supplied by the user" if tasks_file else "freshly drawn in-context linear regression tasks"
    steps = f"{layers} gradient step{'s' * (layers != 1)}" if layers else "gradient steps"
    rates = "".join(
        f", {words} {number(measures[name], 4)}"
        for name, words in (("learning_rate_gd", "GD learning rate"),)
        if name in measures and measures[name].status == "ok"
    )
    split = (
        "settings not given were cross-fitted between two halves of the tasks"
        if tasks_file
        else "twins and rivals were fitted on a tuning split disjoint from the evaluation tasks"
        " (von Oswald et al. tune on the evaluation tasks)"
    )
    replicate = "seeds (t-interval)" if loss.replicate == "seed" else f"{loss.n:,} tasks (paired bootstrap)"
    return (
        f"We compared the model with transformers constructed to take {steps} (von Oswald et al., 2023) and with rival"
        f" predictors on {source}: mean absolute prediction difference, mean L2 distance and mean cosine of the"
        f" sensitivities d prediction / d x_query, and loss 0.5 (y - y_hat)^2{rates}. {split[0].upper()}{split[1:]};"
        " ridge and k-step gradient descent were set as close to the model's predictions as they go."
        " Nulls: 50 untrained initialisations of the same architecture, and context labels shuffled for the model only."
        f" 95 % intervals resample {replicate}."
    )
