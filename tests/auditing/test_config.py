"""Laws about CONFIG.yaml: flags win, unknown keys are named with the nearest valid one."""

from pathlib import Path

import pytest

from erosion.auditing import read_config
from erosion.errors import BadInput

MODELS = "aligned: a\ntuned: t\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "CONFIG.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, MODELS + "seed: 3\nout: runs/x\n"), seed=7, out=None)
    assert (config.seed, config.out, config.aligned) == (7, "runs/x", "a")


def test_the_documented_config_is_read(tmp_path: Path) -> None:
    text = MODELS + (
        "schema: 1\nbase: null\ncontrast: everyday\ntrained_domains: []\n"
        "revision: {base: null, aligned: null, tuned: null}\ndevice: auto\ndtype: auto\ntemplate: aligned\n"
        "system: null\nsplit: {fit: 0.4, select: 0.2, held_out: 0.4}\nseed: 0\n"
        "smallest: {erosion: 0.1, margin: 0.1}\nbootstrap: 2000\npermutations: 2000\nrandom_directions: 40\n"
        "experiments: all\nbatch_tokens: auto\nout: runs/first\n"
    )
    assert read_config(written(tmp_path, text)) == read_config(aligned="a", tuned="t")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MODELS + "contrasts: everyday\n", r"Unknown key 'contrasts': did you mean 'contrast'\?"),
        (MODELS + "split: {fitt: 0.4}\n", r"Unknown key 'split.fitt': did you mean 'fit'\?"),
        ("tuned: t\n", "'aligned' is missing"),
        (MODELS + "bootstrap: many\n", "bootstrap='many'"),
        (MODELS + "split: {fit: 0.9, select: 0.2, held_out: 0.4}\n", "fit \\+ select \\+ held_out is 1.5"),
        (MODELS + "schema: 2\n", "schema=2"),
        ("- a\n- b\n", "no mapping"),
        ("aligned: [a\n", "not valid YAML in line"),
        (MODELS + "experiments: [dynamiks]\n", "dynamiks"),
    ],
)
def test_bad_config_is_one_line_with_the_remedy(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        read_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no config"):
        read_config(tmp_path / "nowhere.yaml")
