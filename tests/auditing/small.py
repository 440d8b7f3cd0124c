"""A small audit of the shipped organism: few questions, few draws."""

from typing import Any

import erosion as er

QUICK: dict[str, Any] = {
    "trained_domains": ["code"],
    "dtype": "float32",
    "device": "cpu",
    "random_directions": 3,
    "bootstrap": 200,
    "permutations": 200,
    "gradient_questions": 4,
    "own_tokens": 12,
}


def few_questions(per_domain: int = 6) -> er.Contrast:
    """The organism's contrast, thinned to a few questions in each domain."""
    whole = er.load_organism().contrast()
    seen: dict[str, int] = {}
    keep = []
    for question, domain in zip(whole.questions, whole.domains, strict=True):
        seen[domain] = seen.get(domain, 0) + 1
        if seen[domain] <= per_domain:
            keep.append(question)
    return whole.only(keep)
