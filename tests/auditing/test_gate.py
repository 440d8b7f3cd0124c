"""Laws about the gate: only *kept* passes."""

from pathlib import Path

import pytest

import erosion as er


def test_an_eroded_run_does_not_pass_and_says_why(run: er.Run) -> None:
    decision = er.gate(run.path)
    assert not decision.passed
    assert decision.reason.startswith("eroded: ")
    assert "\n" not in decision.reason


def test_allowing_inconclusive_does_not_let_eroded_pass(run: er.Run) -> None:
    assert not er.gate(run, allow_inconclusive=True).passed


def test_a_generous_bound_passes(run: er.Run) -> None:
    assert er.gate(run, max_erosion=5.0).passed
    assert not er.gate(run, max_erosion=0.05).passed


def test_two_bounds_are_refused(run: er.Run) -> None:
    with pytest.raises(er.BadInput, match="choose one"):
        er.gate(run, max_erosion=0.1, max_drop=0.1)


def test_a_missing_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(er.BadRun, match="There is no run"):
        er.gate(tmp_path / "nowhere")
