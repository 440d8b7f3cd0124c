"""Laws of the ground floor: one tree of errors, and checkpoints that say what they are."""

from pathlib import Path

import pytest

from erosion import errors
from erosion.triads import Checkpoint, Triad


def test_every_error_is_in_the_tree_that_its_module_draws():
    kinds = {name: getattr(errors, name) for name in errors.__all__}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(kinds) == defined
    for name, kind in kinds.items():
        assert issubclass(kind, errors.ErosionError)
        assert f"{name} " in errors.__doc__


@pytest.mark.parametrize("kind", [errors.BadContrast, errors.BadModel, errors.BadDirection, errors.BadRun])
def test_what_the_user_can_mend_is_bad_input_and_a_value_error(kind):
    assert issubclass(kind, errors.BadInput)
    assert issubclass(kind, ValueError)
    assert not issubclass(errors.Interrupted, errors.BadInput)


def test_a_triad_takes_names_paths_and_checkpoints_and_may_lack_its_base():
    triad = Triad(aligned="owner/model", tuned=Path("runs/tuned"))
    assert [name for name, _ in triad] == ["aligned", "tuned"]
    assert triad.base is None
    assert triad.tuned == Checkpoint("runs/tuned")
    whole = Triad(base=Checkpoint("b", revision="v1"), aligned="a", tuned=Checkpoint("a", adapter="lora"))
    assert [name for name, _ in whole] == ["base", "aligned", "tuned"]
    assert whole.base is not None
    assert whole.base.revision == "v1"
    assert whole == Triad(
        base=Checkpoint("b", revision="v1"), aligned="a", tuned=Checkpoint("a", adapter="lora")
    )


def test_a_checkpoint_says_its_adapter_and_scale():
    assert str(Checkpoint("m")) == "m"
    assert str(Checkpoint("m", adapter="l")) == "m + l"
    assert str(Checkpoint("m", adapter="l", scale=0.25)) == "m + 0.25 x l"
