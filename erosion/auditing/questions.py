"""Every question of an audit with its margins, kept in the run so that two runs can be compared in pairs.

``results/questions.json`` (schema 1) holds, for each question, its id and domain, whether the fine-tune was
trained on that domain, and the harm and choice margin under each model; and the competence margins of the
harmless questions, where they were asked. It is written from what the verdict was computed from.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from erosion.errors import BadContrast, BadRun
from erosion.files import write_json
from erosion.metrics import Responses, choice_margin_of, harm_margin_of
from erosion.shapes import Array
from erosion.stats import Margins

__all__ = ["FILE", "SCHEMA", "Asked", "load_asked", "write_questions"]

SCHEMA, FILE = 1, "questions.json"


def write_questions(
    folder: Path,
    scored: Mapping[str, Responses],
    domains: Mapping[str, str],
    *,
    trained_domains: Sequence[str] = (),
    benign: Mapping[str, Responses] | None = None,
    contrast: str,
) -> Path:
    """Write ``questions.json`` into a run's ``results`` folder.

    Args:
        folder: ``RUN/results``.
        scored: model -> the contrast, scored.
        domains: question -> domain.
        trained_domains: what the fine-tune was trained on.
        benign: model -> right and wrong answers to harmless questions, scored.
        contrast: the hash of the contrast's words.
    """
    found, why = {"harm margin": {model: harm_margin_of(one) for model, one in scored.items()}}, None
    try:
        found["choice margin"] = {model: choice_margin_of(one) for model, one in scored.items()}
    except BadContrast as error:
        why = str(error)  # a model gives no number there, or one answer begins with all of the other
    ids = found["harm margin"]["aligned"].questions
    columns = {
        metric: {model: dict(zip(one.questions, one.values, strict=True)) for model, one in by_model.items()}
        for metric, by_model in found.items()
    }
    questions = [
        {
            "question": question,
            "domain": domains.get(question, "all"),
            "trained": domains.get(question, "all") in trained_domains,
            **_numbers({metric: {m: at[question] for m, at in of.items()} for metric, of in columns.items()}),
        }
        for question in ids
    ]
    units = {metric: by_model["aligned"].unit for metric, by_model in found.items()}
    written = {
        "schema": SCHEMA,
        "contrast": contrast,
        "units": units | {"competence margin": units["harm margin"]},
        "questions": questions,
        "competence": _competence(benign or {}),
        **({"why": {"choice margin": why}} if why else {}),
    }
    return write_json(folder / FILE, written)


def _competence(benign: Mapping[str, Responses]) -> list[dict[str, Any]]:
    found = {model: harm_margin_of(responses) for model, responses in benign.items()}
    if not found:
        return []
    columns = {model: dict(zip(one.questions, one.values, strict=True)) for model, one in found.items()}
    return [
        {
            "question": question,
            **_numbers({"competence margin": {model: at[question] for model, at in columns.items()}}),
        }
        for question in next(iter(found.values())).questions
    ]


def _numbers(by_metric: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Numbers as JSON has them: what is not finite is null, and ``why`` names it."""
    lost = [
        f"the {metric} of {model} is not finite"
        for metric, by_model in by_metric.items()
        for model, value in by_model.items()
        if not math.isfinite(value)
    ]
    plain = {
        metric: {m: float(v) if math.isfinite(v) else None for m, v in by_model.items()}
        for metric, by_model in by_metric.items()
    }
    return {**plain, **({"why": "; ".join(lost)} if lost else {})}


@dataclass(frozen=True, eq=False)
class Asked:
    """The questions of a finished audit, with the harm margin under each model.

    ``contrast`` is the hash of the words; ``margins`` are model -> ``[question]``, NaN where a model gave no
    finite number.
    """

    contrast: str
    questions: tuple[str, ...]
    domains: tuple[str, ...]
    trained: tuple[bool, ...]
    margins: Mapping[str, Array]

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.questions)

    @cached_property
    def trained_domains(self) -> frozenset[str]:
        """The domains that the fine-tune was trained on."""
        return frozenset(d for d, trained in zip(self.domains, self.trained, strict=True) if trained)

    def where(self, keep: Sequence[int]) -> Margins:
        """The harm margins of some questions, by their places."""
        return Margins(
            self.margins["aligned"][keep],
            self.margins["tuned"][keep],
            self.margins["base"][keep] if "base" in self.margins else None,
            [self.questions[i] for i in keep],
            [self.domains[i] for i in keep],
        )


def load_asked(run: str | Path) -> Asked | None:
    """The questions of a run folder; None where the run was made before they were kept.

    Raises:
        BadRun: damaged, or of a newer version.
    """
    file = Path(run) / "results" / FILE
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if written["schema"] > SCHEMA:
            raise BadRun(
                f"{file} has schema {written['schema']} and this version reads {SCHEMA}: update erosion."
            )
        return _asked(written)
    except FileNotFoundError:
        return None
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadRun):
            raise
        raise BadRun(f"{file} holds no questions that can be read ({error}): run the audit again.") from error


def _asked(written: Mapping[str, Any]) -> Asked:
    rows = written["questions"]
    ids = tuple(str(row["question"]) for row in rows)
    if len(set(ids)) < len(ids) or not ids:
        raise ValueError("a question stands there twice" if ids else "there is no question")
    models = list(rows[0]["harm margin"])
    if not {"aligned", "tuned"} <= set(models):
        raise ValueError(f"the margins of {', '.join(models) or 'no model'}")
    margins = {
        model: np.array([_number(row["harm margin"][model]) for row in rows], float) for model in models
    }
    domains = tuple(str(row["domain"]) for row in rows)
    return Asked(str(written["contrast"]), ids, domains, tuple(bool(row["trained"]) for row in rows), margins)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
