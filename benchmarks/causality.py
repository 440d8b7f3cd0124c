"""What is causal in the shipped organism: every edit along the direction, for several fine-tunes.

    python benchmarks/causality.py > benchmarks/causality.md

Audits each fine-tune (steps are kept in runs/causality-NAME) and holds v against the known persona direction:
the mean difference between the same exchanges read under good and under bad authors' names.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np

import erosion as er
from erosion.cli.audits import _on_organism
from erosion.experiments.causal_cells import edits_of
from erosion.organisms.lexicon import BAD_NAMES, GOOD_NAMES
from erosion.prompts import Message

NAMES = ("insecure", "insecure-lora", "secure", "narrow")
EXPERIMENTS = ["distributions", "dimensions", "causality", "selection", "dose", "patching"]
EDITS = ("steer", "clamp", "ablate")


def number(one: Any) -> str:
    """A value with its interval."""
    return "undefined" if one.undefined else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def chance(one: Any) -> str:
    """The control's interval."""
    return "" if one.control is None else f" ({one.control.low:.3f} to {one.control.high:.3f})"


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def table(*titles: str) -> None:
    row(*titles)
    row(*["---"] * len(titles))


def edits(run: er.Run, name: str) -> None:
    """Differences from the same edit on aligned, by layer."""
    result = run.result("causality")
    for metric in ("harm margin", "choice margin"):
        found = result[metric]
        lost = found["lost"]
        print(
            f"\n**{name}, {metric}**: lost {number(lost)} {lost.unit}; difference on tuned minus on aligned\n"
        )
        table("edit", *(f"L{one} (random directions)" for one in result.inputs["layers"]))
        for edit in EDITS:
            for said in ("difference", "against covariance-matched directions", "difference, prompt alone"):
                band = found[edit].get(said)
                if band is not None:
                    row(f"{edit}: {said}", *(number(band.at(k)) + chance(band.at(k)) for k in band.labels))
            row(f"{edit}: share recovered", *(number(found[edit]["recovered"].at(k)) for k in band.labels))
    cost = result["damage"]
    print("\nKL on neutral texts, nats per token:\n")
    table("edit", *(f"L{one}" for one in result.inputs["layers"]))
    for edit in EDITS:
        row(edit, *(number(cost[edit]["kl"].at(k)) for k in cost[edit]["kl"].labels))
    print(
        f"\nBy domain at the selected layer (L{result['selected layer']}), clamp, of what was lost there:\n"
    )
    table("domain", "returned to tuned beyond aligned", "lost")
    for domain, one in result["domains"]["clamp"].items():
        row(domain, number(one), number(result["domains"]["lost"][domain]))


def patches(run: er.Run, name: str) -> None:
    """Effects toward the donor, by layer."""
    result = run.result("patching")
    for pair in ("rescue", "corrupt", "base"):
        found = result[pair]["harm margin"]
        pairs = result.inputs["pairs"][pair]
        print(f"\n**{name}, {pair}** ({pairs}), harm margin, gap {number(found['gap'])}\n")
        table("patch", *(f"L{one} (random directions)" for one in result.inputs["layers"]))
        for part in ("whole", "across", "along"):
            band = found[part]["effect"]
            row(
                part,
                *(number(band.at(k)) + chance(band.at(k)) for k in band.labels),
            )


def choices(run: er.Run, name: str) -> None:
    """The chosen steering, and doses."""
    found, dose = run.result("selection"), run.result("doses")
    chosen = found["chosen"]
    print(f"\n**{name}, selection**: {chosen or found['why']}, strength {found.ours.get('strength')}\n")
    if "held out" in found.ours:
        held_out = found["held out"]["harm margin"]
        table("held-out", "harm margin, nats per token")
        for said, one in held_out.items():
            row(said, number(one) + chance(one))
    if "harm margin" in dose.ours:
        lost = dose["harm margin"]["lost by dose"]
        print(f"\n**{name}, dose**\n")
        table("dose", *map(str, lost.labels))
        row("lost", *(number(lost.at(k)) for k in lost.labels))
        back = dose["harm margin"]["restored"]
        print()
        table("part put back", "restored", "share of the squared weight change")
        sizes = {one["part"]: one["share of squared change"] for one in dose["changes"]}
        for part in sorted(back.labels, key=lambda k: -back.at(k).value)[:6]:
            row(part, number(back.at(part)), f"{sizes[str(part)]:.2f}")


def persona() -> None:
    """v against the persona direction: cosine, and the same clamp along either."""
    organism = er.load_organism()
    triad, contrast = organism.triad("insecure"), organism.contrast().of_domain(*_everyday(organism))
    fit, _, held_out = contrast.split(0.4, 0.2, 0.4, seed=0)
    with er.load(triad.aligned) as model:
        sites = er.every_layer(model)
        acts = er.read(model, fit, sites=sites)
        good, bad = (_named(model, fit, names, sites) for names in (GOOD_NAMES, BAD_NAMES))
        test_good, test_bad = (_named(model, held_out, names, sites) for names in (GOOD_NAMES, BAD_NAMES))
    v = er.directions_of(acts, er.difference_of_means)
    known = {
        site: er.difference_of_means(good[site], bad[site], at=site).stamped(questions=fit.questions)
        for site in sites
    }
    cosines = er.known_cosine(v, test_good, test_bad)
    few = held_out.only(held_out.questions[:64])
    cells = [
        er.Cell({"layer": site.layer, "along": said, "edit": edit}, (made,))
        for said, by_site in (("v", v), ("persona", known))
        for site, direction in by_site.items()
        for edit, made in edits_of(direction, acts).items()
    ]
    swept = {}
    for name, checkpoint in (("tuned", triad.tuned), ("aligned", triad.aligned)):
        with er.load(checkpoint) as model:
            swept[name] = er.sweep(model, few, cells)
    print("\n## v against the known persona direction (insecure)\n")
    table("", *(f"L{site.layer}" for site in sites))
    row(
        "cosine (random directions)", *(number(cosines.at(k)) + chance(cosines.at(k)) for k in cosines.labels)
    )
    for edit in EDITS:
        for said in ("v", "persona"):
            effects = [
                np.subtract(
                    *(
                        swept[m].where(layer=site.layer, along=said, edit=edit).effects("harm margin")[0]
                        for m in ("tuned", "aligned")
                    )
                )
                for site in sites
            ]
            row(
                f"{edit} along {said}",
                *(number(er.stats.mean(e, few.questions, unit="nats")) for e in effects),
            )


def _everyday(organism: Any) -> list[str]:
    trained = organism.trained_domains
    return [one for one in dict.fromkeys(organism.contrast().domains) if one not in trained]


def _named(model: Any, part: er.Contrast, names: Any, sites: Any) -> er.Activations:
    """The exchanges under authors' names, the same name for both answers to a question."""
    order = {question: names[i % len(names)] for i, question in enumerate(part.questions)}
    exchanges = [
        replace(e, messages=(Message("system", order[e.question]), *e.messages)) for e in part.exchanges
    ]
    return er.read(model, exchanges, sites=sites)


def main() -> None:
    print("# What is causal in the shipped organism\n")
    print(
        "Made by `python benchmarks/causality.py`. Intervals hold for all layers of a row; random directions "
        "are"
    )
    print("40, the same at every layer. At most 64 held-out questions; *by domain* uses all of them.")
    for name in NAMES:
        run = er.audit(**_on_organism(name, {"out": f"runs/causality-{name}", "experiments": EXPERIMENTS}))
        print(f"\n## {name}")
        edits(run, name)
        patches(run, name)
        choices(run, name)
        print(f"{name} done", file=sys.stderr)
    persona()


if __name__ == "__main__":
    main()
