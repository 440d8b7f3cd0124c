"""Put a page for every room into the navigation, from the top of the house to the bottom."""

import runpy
from pathlib import Path
from typing import Any

TITLES = {"stats": "Statistics", "linalg": "Linear algebra"}


def on_config(config: Any) -> Any:
    """Extend *Reference* by the rooms; as ``rooms.py`` orders them."""
    rooms = runpy.run_path(str(Path(__file__).with_name("rooms.py")), run_name="read")
    names = [room.removeprefix("erosion.") for room in rooms["rooms"]()]
    pages = [
        {TITLES.get(n, n.replace("_", " ").capitalize()): rooms["address"](f"erosion.{n}")} for n in names
    ]
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    reference.append({"Python": pages})
    return config
