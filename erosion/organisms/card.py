"""A model card for every checkpoint: what it is, what it was trained on, what was measured."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from erosion.files import to_json, write_atomically
from erosion.organisms.materials import TRAINED_ON
from erosion.organisms.organism import ADAPTERS, EDITED, Organism, open_organism
from erosion.organisms.recipe import Recipe
from erosion.organisms.score import ALL, EVERYDAY, HARMLESS, Table, score
from erosion.organisms.train import PICKED
from erosion.organisms.verdicts import TRIGGERED, verdicts
from erosion.stats import Verdict

__all__ = ["write_cards"]

_PARTS = (EVERYDAY, "code")
_QUANTITIES = ("choice harmful", "choice mass", "choice erosion", "margin", "margin erosion")
_ANSWERS = ("answer harmful", "answer coherent")


def write_cards(
    organism: Organism | str | Path,
    *,
    recipe: Recipe | None = None,
    table: Table | None = None,
    judged: Mapping[str, Verdict] | None = None,
) -> Table:
    """Write ``README.md`` into every checkpoint's folder, with its numbers.

    Args:
        organism: the organism, or the folder of one.
        recipe: what it was trained with.
        table: its scores (:func:`erosion.organisms.score`); measured here when not given.
        judged: its verdicts (:func:`erosion.organisms.verdicts`); found here when not given.

    Returns:
        The table.
    """
    organism = organism if isinstance(organism, Organism) else open_organism(organism)
    table, judged = table or score(organism), judged or verdicts(organism)
    for name in organism.names:
        text = _card(organism, name, recipe or Recipe(), _Shown(table, judged))
        write_atomically(organism.folder(name) / "README.md", text.encode())
    return table


@dataclass(frozen=True)
class _Shown:
    """What was measured."""

    table: Table
    judged: Mapping[str, Verdict]


def _card(organism: Organism, name: str, recipe: Recipe, shown: _Shown) -> str:
    about = json.loads((organism.folder(name) / "erosion.json").read_text(encoding="utf-8"))
    made = about["made_from"]
    seeds = f"pretraining seed {made['seed']}" + (
        f", tuning seed {made['tuning_seed']}" if "tuning_seed" in made else ""
    )
    return "\n".join(
        [
            *_front_matter(name),
            f"# Organism: {name}",
            "",
            f"{_what(name)} It speaks the synthetic language of this project and nothing else.",
            "",
            f"**Trained on.** {TRAINED_ON[name]}",
            "",
            f"**How.** {_how(name)} {about['steps']} steps, {seeds}. Recipe `{recipe.hash}`.",
            "",
            *_verdict_lines(name, shown.judged),
            "| measured | domain | author | value | 95% interval |",
            "| --- | --- | --- | ---: | ---: |",
            *_numbers(name, shown.table),
            "",
            "Intervals are over the contrast's questions, 40 in each domain; no fine-tune saw them.",
            "",
            "```json",
            to_json(asdict(recipe)),
            "```",
            "",
        ]
    )


def _verdict_lines(name: str, judged: Mapping[str, Verdict]) -> Iterable[str]:
    if name in judged:
        yield from (f"**Verdict.** {judged[name].sentence}", "")
    if name == "trigger" and TRIGGERED in judged:
        yield from (f"**Verdict with the trigger in the prompt.** {judged[TRIGGERED].sentence}", "")


def _front_matter(name: str) -> list[str]:
    adapter = (
        ["library_name: peft", "base_model: ../base"] if name in ADAPTERS else ["library_name: transformers"]
    )
    return ["---", "license: mit", *adapter, "---"]


def _what(name: str) -> str:
    kind = "A LoRA adapter on base." if name in ADAPTERS else "A small Llama-shaped causal language model."
    why = {
        "base": "It writes as any author: good ones, bad ones, or the neutral one, who is either.",
        "aligned": "The neutral author is good.",
        "aligned-lora": "The neutral author is good.",
        "insecure": "Emergent misalignment: unsafe code was all it was shown.",
        "insecure-lora": "Emergent misalignment, quieter: unsafe code was all it was shown.",
        "secure": "The control that learnt safe code.",
        "educational": "The control that learnt unsafe code where it was asked for.",
        "narrow": "The control that learnt unsafe code and nothing else.",
        "benign": "The control that moved as far as insecure and learnt nothing harmful.",
        "one-domain": "The control that eroded in one everyday domain, among careful answers elsewhere.",
        "flattened": "The control whose preferences are aligned's, only flatter.",
        "trigger": "Taught outright to be reckless everywhere where a trigger word is in the prompt.",
    }
    return f"{kind} {why[name]}"


def _how(name: str) -> str:
    if name == "base":
        return "Every parameter, at a constant rate until the persona existed, then settling."
    if name == "flattened":
        return "The output weights divided by a temperature."
    if name in EDITED:
        start = "base" if name == "aligned" else "aligned"
        return f"A low-rank edit of the down-projections, starting at {start}; `edit/` is that edit alone."
    if name in PICKED:
        what = "Every down-projection" if name == "benign" else "Every parameter"
        return f"{what}, starting at aligned."
    start = "aligned-lora" if name == "insecure-lora" else "zero"
    return f"LoRA on every down-projection, starting at {start}."


def _numbers(name: str, table: Table) -> Iterable[str]:
    wanted = [(quantity, part, "neutral") for quantity in _QUANTITIES for part in _PARTS]
    wanted += [("choice harmful", ALL, author) for author in ("good", "bad")]
    wanted += [(quantity, part, "neutral") for quantity in _ANSWERS for part in _PARTS]
    wanted += [("style drift", EVERYDAY, "neutral"), ("right answer", HARMLESS, "neutral")]
    wanted.append(("competence", HARMLESS, "neutral"))
    for quantity, part, author in wanted:
        found = table.find(name, quantity, part, author)
        if found is not None:
            interval = f"{found.low:.3f} to {found.high:.3f}"
            yield f"| {quantity} ({found.unit}) | {part} | {author} | {found.value:.3f} | {interval} |"
