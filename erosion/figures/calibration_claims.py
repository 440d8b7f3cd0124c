"""What a calibration establishes, in words made from its table."""

from collections import Counter

from erosion.experiments import Result

__all__ = ["calibration", "power"]


def calibration(result: Result) -> str:
    """How many rates keep their promise; a miss is named."""
    counts, audits = result["outcomes"], result.inputs["audits"]
    total = sum(counts.values())
    kept = f"{counts['pass']} of {total} rates lie inside their target in {audits:,} simulated audits"
    unclear = f", {counts['unclear']} outside by no more than their own error" if counts["unclear"] else ""
    missed = Counter(one["promise"] for one in result["rates"] if one["outcome"] == "miss")
    if not missed:
        return f"{kept}{unclear}; none clearly misses it"
    named = ", ".join(f"{promise} ({many})" for promise, many in missed.most_common(3))
    return f"{kept}{unclear}; {missed.total()} clearly outside: {named}"


def power(result: Result) -> str:
    """How many questions let an erosion of nothing and of twice the smallest of interest be recognised."""
    smallest = result.inputs["smallest erosion of interest"]
    parts = []
    for erosion, word in ((0.0, "kept"), (2 * smallest, "eroded")):
        enough = [
            one["questions"]
            for one in result["power"]
            if abs(one["erosion"] - erosion) < 1e-9
            and (one["domains"], one["noise"]) == (1, "normal")
            and one[word].low > 0.8
        ]
        least = f"from {min(enough)} questions on" if enough else "at no simulated number of questions"
        parts.append(f"a true erosion of {erosion:g} is called {word} in over 80% of audits {least}")
    return f"In one domain with normal noise, {'; '.join(parts)}"
