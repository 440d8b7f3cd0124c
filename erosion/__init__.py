"""Did this fine-tune erode the model's alignment, where inside, and can it be put right?

The public names, loaded when first used, so that ``import erosion`` costs next to nothing. Read
:func:`audit` for the whole job, or build it up from :func:`load`, :func:`read`,
:func:`difference_of_means`, :func:`steer` and :func:`measure`.
"""

from importlib import import_module
from typing import Any

from erosion.progress import progress as progress

__version__ = "0.1.0"

_ROOMS = {
    "erosion.activations": (
        "Activations",
        "directions_of",
        "load_activations",
        "read",
        "read_moments",
        "read_texts",
    ),
    "erosion.auditing": (
        "Config",
        "Decision",
        "Run",
        "audit",
        "gate",
        "open_run",
        "prepare",
        "read_config",
    ),
    "erosion.comparing": (
        "Comparison",
        "compare",
    ),
    "erosion.directions": (
        "Direction",
        "Passport",
        "auc",
        "average",
        "difference_of_means",
        "export_gguf",
        "export_tensors",
        "import_directions",
        "load_directions",
        "logistic_probe",
        "moved",
        "orthogonalised",
        "principal_component",
        "random_direction",
        "save",
        "shuffled",
        "span_of",
        "whitened",
    ),
    "erosion.effects": (
        "Effect",
        "measure",
        "noise_floor",
    ),
    "erosion.errors": (
        "BadContrast",
        "BadDirection",
        "BadInput",
        "BadModel",
        "BadRun",
        "ErosionError",
        "Interrupted",
    ),
    "erosion.experiments": (
        "Beside",
        "Result",
        "Sampling",
        "Selection",
        "TokenMeasures",
        "TokenReads",
        "bridged_steps",
        "calibrate",
        "causal_cell",
        "causal_cells",
        "causal_damage",
        "causal_domains",
        "causality",
        "choose_shown",
        "confounds",
        "dimensions",
        "distributions",
        "divergences",
        "doses",
        "doses_of",
        "dynamics",
        "gradient_geometry",
        "known_cosine",
        "load_result",
        "loss_geometry",
        "off_distribution",
        "patched",
        "patching",
        "rendering_guards",
        "select",
        "select_causally",
        "selection",
        "sharing",
        "tokens",
        "trajectories",
        "trajectory_of",
        "within_run",
    ),
    "erosion.exploring": ("explore",),
    "erosion.gradients": (
        "GradientProducts",
        "GradientSketches",
        "TokenInfluence",
        "gradient_bridge",
        "gradient_products",
        "gradient_sketches",
        "margin_target",
        "projection_target",
        "real_steps",
        "token_influence",
    ),
    "erosion.interventions": (
        "ablate",
        "clamp",
        "conditional",
        "dose",
        "live_patch",
        "mean_ablate",
        "norm_preserving",
        "parse_scope",
        "patch",
        "positions",
        "repeated",
        "resample_ablate",
        "rescoped",
        "steer",
        "zero_ablate",
    ),
    "erosion.metrics": (
        "Responses",
        "Scores",
        "choice_margin",
        "harm_margin",
        "matched_temperature",
        "on_policy",
        "read_head_states",
        "score_responses",
        "summed_margin",
        "token_divergences",
        "top_continuations",
    ),
    "erosion.models": (
        "Model",
        "Placement",
        "blended",
        "dosed",
        "every_layer",
        "generate",
        "load",
        "orthogonalised_weights",
        "parts_of_change",
        "rendering_of",
        "save_checkpoint",
        "save_orthogonalised",
        "untrained_tokens",
        "writing_sites",
    ),
    "erosion.moments": ("Moments",),
    "erosion.organisms": ("load_organism",),
    "erosion.prompts": (
        "Contrast",
        "Exchange",
        "Message",
        "Question",
        "Rendering",
        "choose_rendering",
        "load_contrast",
        "load_texts",
        "pair",
        "read_chat",
        "read_contrast",
        "read_dataset",
        "read_pairs",
        "read_questions",
        "shared_vocabulary",
        "write_chat",
        "write_contrast",
    ),
    "erosion.reporting": ("report",),
    "erosion.reporting.comparison": ("report_comparison",),
    "erosion.sites": (
        "Site",
        "parse_site",
    ),
    "erosion.stats": (
        "Band",
        "Control",
        "Estimate",
        "Verdict",
        "bootstrap",
        "eroded_fraction",
        "erosion",
        "verdict",
    ),
    "erosion.sweeps": (
        "Cell",
        "Damage",
        "Sweep",
        "attribution",
        "damage",
        "grid",
        "load_sweep",
        "screen_error",
        "side_by_side",
        "sweep",
    ),
    "erosion.token_projections": (
        "TokenProjections",
        "project_tokens",
    ),
    "erosion.token_activations": (
        "TokenActivations",
        "load_token_activations",
        "read_tokens",
    ),
    "erosion.triads": (
        "Checkpoint",
        "Triad",
    ),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}
_WHOLE = ("experiments", "figures", "linalg", "organisms", "stats")

__all__ = ["__version__", *sorted({"progress", *_WHERE, *_WHOLE})]


def __getattr__(name: str) -> Any:
    """Load a public name from its room when it is first asked for."""
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    elif name in _WHOLE:
        value = import_module(f"erosion.{name}")
    else:
        raise AttributeError(f"erosion has no {name!r}: see dir(erosion)")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
