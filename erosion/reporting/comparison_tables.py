"""The tables of a comparison: every run, every domain, every peak, what changes, and provenance."""

from erosion.comparing import Comparison
from erosion.comparing.differences import Difference
from erosion.comparing.layers import CURVES
from erosion.comparing.rows import QUANTITIES, UNITS
from erosion.figures import comparison_claims
from erosion.reporting.tables import Table
from erosion.stats import Estimate
from erosion.stats.estimates import interval_in_words

__all__ = [
    "cell",
    "domain_table",
    "in_words",
    "main_table",
    "methods_of",
    "peak_table",
    "provenance_tables",
    "setup_tables",
]


def main_table(compared: Comparison) -> Table:
    """One row for each run or recipe: verdict, every quantity, and the difference in each."""
    columns = ["", "verdict"]
    for quantity in QUANTITIES:
        columns += [f"{quantity} ({UNITS[quantity]})", f"minus {comparison_claims.cut(compared.against)}"]
    rows = []
    for row in compared.rows:
        cells = [row.name, row.word]
        for quantity in QUANTITIES:
            one = compared.of(quantity).get(row.name)
            cells.append(cell(row.estimates[quantity]))
            cells.append("held against" if one is None else in_words(one))
        rows.append(tuple(cells))
    return Table(
        f"Every run held against {comparison_claims.cut(compared.against)}. "
        f"{methods_of(compared, whole=True)} Each run's own numbers have the interval of its audit.",
        tuple(columns),
        tuple(rows),
    )


def domain_table(compared: Comparison) -> Table:
    """One row for each domain, one column for each difference."""
    others = [row.name for row in compared.rows if row.name != compared.against]
    rows = []
    for domain in compared.domains:
        found = compared.of(compared.judged, domain)
        rows.append((domain, *(in_words(found[name]) if name in found else "not asked" for name in others)))
    return Table(
        f"{compared.judged.capitalize()} by domain ({UNITS[compared.judged]}), each minus "
        f"{comparison_claims.cut(compared.against)}. {methods_of(compared, whole=False)}",
        ("domain", *others),
        tuple(rows),
    )


def peak_table(compared: Comparison) -> Table:
    """Where the layer curves of every run peak."""
    rows = tuple(
        (
            run.name,
            peak.curve,
            f"{peak.depth:.2f}" if peak.located else "no layer stands out",
            f"layer {peak.layer} of {peak.n_layers} (from 0)",
            ", ".join(map(str, peak.alike)),
            f"{peak.depths[0]:.2f} to {peak.depths[1]:.2f}",
            f"{cell(peak.estimate)} {peak.estimate.unit}",
        )
        for curve in CURVES
        for run in compared.runs
        for peak in run.peaks
        if peak.curve == curve
    )
    columns = (
        "",
        "curve",
        "depth of the highest",
        "layer",
        "layers not told apart from it",
        "their depths",
        "value there",
    )
    return Table("Where layer curves are highest. Depth is (layer + 1)/layers.", columns, rows)


def cell(one: Estimate) -> str:
    """A number with its interval, or why there is none."""
    if one.undefined:
        return f"undefined: {one.why}"
    few = " (approximate)" if one.approximate else ""
    return f"{interval_in_words(one.value, one.low, one.high)}{few}"


def in_words(one: Difference) -> str:
    """A difference with its interval, and what it comes to; the reason for none stands at its rows."""
    if one.estimate.undefined:
        return "undefined"
    return f"{cell(one.estimate)}: {comparison_claims.of_word(one)}"


def methods_of(compared: Comparison, *, whole: bool) -> str:
    """How the intervals of differences are made, and in which family they hold."""
    found = [d for d in compared.differences if (d.domain is None) == whole]
    ours = dict.fromkeys(d.estimate.method for d in found if not d.estimate.undefined)
    if not ours:
        return "No difference is defined."
    many = found[0].family
    of = "of a quantity " if whole else ""
    together = f", all {many} {of}at once" if many > 1 else ""
    return f"Differences at 95%{together}: {'; '.join(ours)}."


def setup_tables(compared: Comparison) -> tuple[Table, ...]:
    """What is not the same in all runs first; the rest in one line of a second table."""
    setups, changes = compared.setups, compared.changes
    same = {key: one for key, one in next(iter(setups.values())).items() if key not in changes}
    rows = tuple((name, *(setup[key] for key in changes)) for name, setup in setups.items())
    differing = Table("What is not the same in all runs.", ("", *changes), rows)
    return (
        *((differing,) if changes else ()),
        Table("What is the same in all runs.", ("", ""), tuple(same.items())),
    )


def provenance_tables(compared: Comparison) -> tuple[Table, ...]:
    """What each run was made from, and the hashes of its models."""
    runs = tuple(
        (
            run.name,
            str(run.path),
            "each question's margins" if run.asked is not None else "no margins by question",
            str(run.manifest["identity"]),
            str(run.manifest["contrast"]["hash"]),
            str(run.manifest["template"]["hash"]),
        )
        for run in compared.runs
    )
    models = tuple(
        (run.name, role, str(one["name"]), str(one["weights_hash"]), str(one.get("adapter_hash") or "none"))
        for run in compared.runs
        for role, one in run.manifest["models"].items()
    )
    of_run = ("", "folder", "keeps", "identity of the audit", "contrast SHA-256", "chat template SHA-256")
    of_model = ("", "role", "model", "weights SHA-256", "adapter SHA-256")
    return Table("Runs", of_run, runs), Table("Models", of_model, models)
