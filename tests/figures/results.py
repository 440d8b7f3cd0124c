"""Results and verdicts made by hand, of any number of layers and domains, for figures to draw."""

import dataclasses
import math

import numpy as np

from erosion.experiments import Result
from erosion.stats import Band, Control, DomainVerdict, Estimate, Verdict

NAN = math.nan
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "مجال طويل",
    "🍳 cooking $x$",
    "a" * 300,
)
UNDEFINED = Estimate(
    NAN, NAN, NAN, "fraction", 40, "Fieller, cluster t", why="alignment did not raise it <above> base"
)


def estimate(value=0.5, half=0.1, unit="fraction", n=40, control=None):
    return Estimate(value, value - half, value + half, unit, n, "cluster t", control=control)


def domain(name, word="eroded", quantity="erosion", number=None):
    number = number or estimate()
    return DomainVerdict(name, word, quantity, number, 0.1, 0.08, 60, estimate(unit="nats per token"))


def verdict(
    word="eroded", words=("eroded", "kept"), quantity="erosion", number=None, trained=("code",), names=None
):
    names = names or [f"domain {i}" for i in range(len(words))]
    return Verdict(
        word,
        f"{word.capitalize()}: made by hand.",
        quantity,
        number or estimate(),
        0.1,
        0.05,
        tuple(domain(name, one) for name, one in zip(names, words, strict=True)),
        tuple(domain(name) for name in trained),
        estimate(0.3, unit="share of questions"),
        None,
        estimate(unit="nats per token"),
        (domain("harm margin at matched temperature", "kept", number=estimate(0.02, 0.02)),),
    )


def band(layers=4, level=0.5, half=0.1, unit="nats", control=None, missing=()):
    values = np.full(layers, float(level))
    values[list(missing)] = NAN
    labels = tuple(range(layers))
    null = None if control is None else band(layers, *control, unit=unit)
    return Band(
        values, values - half, values + half, labels, unit, 40, "max-|t| cluster bootstrap", control=null
    )


def distributions(names=("cooking", "code"), base=True, change=-1.0, half=0.2):
    models = ("base", "aligned", "tuned") if base else ("aligned", "tuned")
    null = Control("labels swapped within questions", 0.0, -0.2, 0.2)
    units = {"harm margin": "nats per token", "choice margin": "nats", "summed margin": "nats"}

    def every(value):
        return {metric: estimate(value, half, unit, control=null) for metric, unit in units.items()}

    group = {
        "margins": {model: every(2.0 if model == "aligned" else 2.0 + change) for model in models},
        "harm-specific change": every(change),
        "style drift": estimate(0.3, half, "nats per token"),
    }
    if base:
        group |= {"erosion": dict.fromkeys(units, UNDEFINED), "style erosion": UNDEFINED}
    inputs = {"models": list(models), "questions": {}, "trained_domains": ["code"]}
    published = {
        f"{s} answers": {"eroded fraction": 1.2 if base else None} for s in ("aligned", "misaligned")
    }
    return Result("distributions", inputs, published, {"overall": group} | dict.fromkeys(names, group))


def dimensions(layers=4, auc=0.9):
    fits = ("difference of means", "principal component", "logistic probe")
    one = {
        "held-out AUC": band(layers, auc, 0.05, "AUC", control=(0.5, 0.1)),
        "held-out gap": band(layers, 0.8),
    }
    published = {name: {"AUC on the questions fitted on": [1.0] * layers} for name in fits}
    inputs = {
        "layers": list(range(layers)),
        "fit questions": 48,
        "held-out questions": 40,
        "span": "response",
    }
    return Result("dimensions", inputs, published, {"by fit": dict.fromkeys(fits, one)})


def dynamics(layers=4, base=True, moved=-0.5, missing=()):
    models = {"base": 0.1, "aligned": 1.0, "tuned": 1.0 + moved}
    if not base:
        del models["base"]
    ours = {
        "position": {m: {s: band(layers, at) for s in ("aligned", "misaligned")} for m, at in models.items()},
        "shift of tuned": band(layers, moved, 0.1, "fitted gaps", control=(0.0, 0.2)),
    }
    if base:
        ours["erosion of position"] = band(layers, 0.5, 0.1, "fraction", missing=missing)
    return Result("dynamics", {"layers": list(range(layers)), "held-out questions": 40}, {}, ours)


def causality(layers=4, effect=0.5, lost=1.0, matched=(0.0, 0.2)):
    control = (0.0, 0.2)
    edit = {
        "on tuned": band(layers, effect, control=control),
        "on aligned": band(layers, 0.0),
        "difference": band(layers, effect, control=control),
        "recovered": band(layers, effect, unit="fraction", missing=(0,)),
        "against covariance-matched directions": band(layers, effect, control=matched),
        "difference, prompt alone": band(layers, effect),
    }
    plain = {name: one if one.control is None else band(layers, effect) for name, one in edit.items()}
    one = {"lost": estimate(lost, 0.2, "nats"), "steer": edit, "clamp": plain, "ablate": edit}
    inputs = {"layers": list(range(layers)), "random directions": 40}
    return Result("causality", inputs, {}, {"choice margin": one, "harm margin": one, **beside(layers)})


def beside(layers=4, kl=0.02, gained=0.2):
    """What belongs to causality beside the curves: damage by edit and effects by domain."""
    unit = "nats per token"
    damage = {
        edit: {name: band(layers, kl, 0.01, unit, control=(0.01, 0.01)) for name in ("kl", "cost")}
        for edit in ("steer", "clamp", "ablate")
    }
    domains = {
        edit: {name: estimate(level, 0.1, unit) for name in ("cooking", HOSTILE[0])}
        for edit, level in (("lost", 0.4), ("steer", 0.0), ("clamp", gained), ("ablate", gained))
    }
    return {"damage": damage, "domains": domains, "selected layer": 0}


def patching(layers=4, along=0.4, gap=1.0, base=True, response=0.5):
    def curves(level):
        return {
            "effect": band(layers, level, control=(0.0, 0.1)),
            "share": band(layers, level, unit="fraction"),
        }

    def places(level):
        return {
            "prompt[-1]": band(layers, level),
            "response": band(layers, 0.1),
            "response[0]": band(layers, 0.0),
            "user": band(layers, 0.0),
        }

    one = {
        "gap": estimate(gap, 0.2, "nats"),
        "whole": curves(gap),
        "across": curves(gap - along),
        "along": curves(along),
        "by place": {"whole": places(response), "along": places(along)},
        "by component": {f"head {i}": band(layers, 0.1 * (i == 10)) for i in range(11)}
        | {
            "attn_out": band(layers, 0.2),
            "mlp_out": band(layers, 0.8),
            "mlp_out, along v": band(layers, 0.1),
        },
    }
    by_metric = {"harm margin": one, "choice margin": one}
    pairs = ("rescue", "corrupt", "base") if base else ("rescue", "corrupt")
    within = {
        model: {
            part: band(layers, level)
            for part, level in (("whole", -1.0), ("along", -0.5), ("along, another question", 0.0))
        }
        for model in ("aligned", "tuned")
    }
    ours = {**dict.fromkeys(pairs, by_metric), "within": within}
    return Result("patching", {"layers": list(range(layers)), "random directions": 40}, {}, ours)


def selection(layers=4, chosen=0, gain=0.3, control=0.1, lost=1.0, tried=True, taken=0.2):
    def both(level):
        return {metric: estimate(level, 0.05, "nats") for metric in ("harm margin", "choice margin")}

    rows = [
        {
            "layer": i,
            "span": span,
            "ablation": both(-taken),
            "addition": both(0.1),
            "kl": estimate(0.02, 0.01, "nats"),
        }
        | {"fails": [] if i == chosen else ["KL 0.2 above 0.1"]}
        for span in ("response", "last_response")
        for i in range(layers)
    ]
    ours = {"rows": rows, "chosen": None, "why": "none of the 8 candidates passes all three conditions"}
    if chosen is not None:
        ours |= {"chosen": {"layer": chosen, "span": "response"}, "why": "its ablation takes most"}
    if tried and chosen is not None:
        steps = [
            {"by": by, "gain": both(taken / 2 * by), "kl": estimate(0.01 * by, 0.01, "nats")}
            for by in (1.0, 2.0)
        ]
        random = Control("40 random directions at this layer", 0.0, -control, control)
        difference = dataclasses.replace(estimate(gain, 0.1, "nats"), control=random)
        one = {"lost": estimate(lost, 0.2, "nats"), "difference": difference}
        one |= {"on tuned": estimate(gain, 0.1, "nats"), "on aligned": estimate(0.0, 0.1, "nats")}
        ours |= {"strengths": steps, "strength": 2.0, "why this strength": "the largest gain"}
        ours["held out"] = {"harm margin": one, "choice margin": one}
    inputs = {"most KL": 0.1, "random directions": 40, "layers": layers, "candidates": len(rows)}
    return Result("selection", inputs, {}, ours)


def doses(parts=4, lost=1.0, restored=0.5, bent=0.2, size=0.25):
    steps = ("0", "0.25", "0.5", "0.75", "1", "1.25", "1.5")

    def curve(levels, half=0.05, labels=steps):
        values = np.array(levels, dtype=float)
        ends = values - half, values + half
        return Band(values, *ends, labels, "nats", 40, "max-|t| cluster bootstrap")

    at = np.array([float(step) for step in steps])
    names = (*(f"L{i}.mlp" for i in range(parts)), "mlp")
    by_part = curve([restored, *[0.0] * (parts - 1), lost], labels=names)
    one = {
        "margin by dose": curve(lost * (1 - at)),
        "lost by dose": curve(lost * at),
        "beyond the chord": curve([bent * (0 < d < 1) for d in at]),
        "lost": estimate(lost, 0.2, "nats"),
        **dict.fromkeys(("restored", "restored share", "grafted", "grafted share"), by_part),
    }
    sizes = {"norm": 1.0, "relative": 0.1, "share of squared change": size}
    ours = {"harm margin": one, "choice margin": one, "competence margin": curve([0.6] * len(steps))}
    ours["changes"] = [{"part": name, **sizes} for name in names]
    return Result("doses", {"doses": list(at)}, {}, ours)


def tokens(layers=4, words=("Salt", " it", " safely", "."), asked="How much salt?", questions=2, seed=0):
    """Answers of ``words`` with random values; projections grow with the layer, so scales differ."""
    draw = np.random.default_rng(seed)
    prompt = ["<user>", " salt", "?"]

    def layered(count):
        return [(draw.normal(size=count) * (layer + 1)).round(3).tolist() for layer in range(layers)]

    def answer():
        every = [*prompt, *words]
        found = {
            kind: {model: layered(len(every)) for model in ("aligned", "tuned")}
            for kind in ("position", "random")
        }
        beside = {
            key: draw.normal(size=len(words)).round(3).tolist() for key in ("loss difference", "influence")
        }
        kl = np.abs(draw.normal(size=len(words))).round(3).tolist()
        return {"words": every, "response": [3, len(every)], **found, **beside, "KL": kl}

    shown = [
        {
            "question": f"cooking-{i}",
            "domain": "cooking",
            "asked": asked,
            "why": "lost most" if i % 2 == 0 else "lost least",
            "margin": {"aligned": 1.0, "tuned": float(i) / 10},
            "answers": {side: answer() for side in ("aligned", "misaligned")},
        }
        for i in range(questions)
    ]
    ours = {"layers": list(range(layers)), "first layer shown": layers // 2, "shown": shown}
    return Result("tokens", {"questions shown": questions}, {}, {**ours, "error of influence": 0.001})
