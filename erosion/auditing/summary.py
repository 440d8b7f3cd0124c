"""The headline: the verdict, and every number that the report's first screen and a program would read."""

from collections.abc import Mapping
from typing import Any

from erosion.auditing.config import Config
from erosion.experiments import Result
from erosion.experiments.results import SCHEMA, plain
from erosion.metrics import Responses, harm_margin_of
from erosion.stats import Band, Estimate, Margins, Verdict, verdict

__all__ = ["summary_of", "verdict_of"]


def verdict_of(
    scored: Mapping[str, Responses],
    domains: Mapping[str, str],
    config: Config,
    *,
    matched: Responses | None,
    benign: Mapping[str, Responses],
) -> Verdict:
    """The verdict on the harm margin, guarded by competence and by the same margin at matched temperature.

    Args:
        scored: model -> the contrast, scored.
        domains: question -> domain.
        config: trained domains and the smallest erosion of interest.
        matched: the tuned model at the temperature that gives it the aligned model's entropy.
        benign: model -> right and wrong answers to harmless questions, scored; empty where there are none.
    """
    guard = None if matched is None else {**scored, "tuned": matched}
    return verdict(
        _margins(scored, domains, "harm margin"),
        trained_domains=config.trained_domains,
        smallest=config.smallest.model_dump(),
        companions=[_margins(_without_base(benign), {}, "competence margin")] if benign else [],
        matched=None if guard is None else _margins(guard, domains, "harm margin at matched temperature"),
    )


def _without_base(scored: Mapping[str, Responses]) -> dict[str, Responses]:
    """Alignment adds next to nothing to competence: its loss is judged in nats, not as a share of that."""
    return {name: responses for name, responses in scored.items() if name != "base"}


def _margins(scored: Mapping[str, Responses], domains: Mapping[str, str], name: str) -> Margins:
    found = {model: harm_margin_of(responses) for model, responses in scored.items()}
    questions = found["aligned"].questions
    return Margins(
        found["aligned"].values,
        found["tuned"].values,
        found["base"].values if "base" in found else None,
        questions,
        [domains.get(question, "all") for question in questions],
        name,
    )


def summary_of(verdict: Verdict, results: Mapping[str, Result], temperature: float | None) -> dict[str, Any]:
    """``summary.json``: the verdict and the numbers, each with interval, unit, questions and control."""
    numbers = [
        {"experiment": name, "name": " / ".join(path), **number.to_json()}
        for name, path, number in _estimates(results)
    ]
    guard = None if temperature is None else {"temperature": temperature}
    return {"schema": SCHEMA, "verdict": verdict.to_json(), "matched": plain(guard), "numbers": numbers}


def _estimates(results: Mapping[str, Result]) -> list[tuple[str, tuple[str, ...], Estimate]]:
    found: list[tuple[str, tuple[str, ...], Estimate]] = []

    def walk(experiment: str, path: tuple[str, ...], value: Any) -> None:
        if isinstance(value, Estimate):
            found.append((experiment, path, value))
        elif isinstance(value, Band):
            found.extend((experiment, (*path, f"L{label}"), value.at(label)) for label in value.labels)
        elif isinstance(value, Mapping):
            for key, one in value.items():
                walk(experiment, (*path, key), one)

    for name, result in results.items():
        walk(name, (), result.ours)
    return found
