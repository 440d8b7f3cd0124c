"""The page on 127.0.0.1 alone, for whoever has the token in its address."""

import hmac
import logging
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erosion.auditing import Run, open_run
from erosion.auditing.fitting import directions_in
from erosion.errors import BadInput
from erosion.exploring.sessions import Session
from erosion.exploring.states import State
from erosion.models import Placement, rendering_of
from erosion.prompts import Contrast, load_contrast
from erosion.triads import Checkpoint, Triad

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["explore", "guard", "session_of"]

_HOST = "127.0.0.1"
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def explore(
    run: Run | Triad | str | Path,
    *,
    contrast: Contrast | str | Path | None = None,
    placement: Placement | None = None,
    start: State | None = None,
    port: int = 0,
    open_browser: bool = True,
) -> None:
    """Open a local page where one types a prompt and sees every model's answer, and the edited model's.

    Blocks until Ctrl-C. Listens on 127.0.0.1 alone; a request without the token of the printed address, or
    for another host, is refused.

    Args:
        run: a finished run or its folder (its models, contrast, template and directions), or a triad.
        contrast: for a triad: what directions are fitted on (a contrast, a built-in name, or JSONL).
        placement: where the models sit; the run's own when not given.
        start: what is set when the page opens.
        port: 0 takes a free one.
        open_browser: open the address.

    Raises:
        BadInput: no Dash here, a port that is taken, models or a contrast that cannot be used.

    Memory: see :class:`~erosion.exploring.Session`.

    >>> explore("runs/none")
    Traceback (most recent call last):
    erosion.errors.BadRun: There is no run at runs/none: run erosion audit or erosion demo first.
    """
    _require_dash()
    _require_free(port)
    session, described = session_of(run, contrast=contrast, placement=placement)
    serve(session, described, start=start, port=port, open_browser=open_browser)


def session_of(
    run: Run | Triad | str | Path,
    *,
    contrast: Contrast | str | Path | None = None,
    placement: Placement | None = None,
) -> tuple[Session, str]:
    """The models behind the page, and what they are called. Arguments and errors as :func:`explore`."""
    if isinstance(run, Triad):
        words = contrast if isinstance(contrast, Contrast) else load_contrast(contrast or "everyday")
        session = Session(run, words, placement=placement, rendering=rendering_of(run.aligned))
        return session, _named(run, words.name)
    run = run if isinstance(run, Run) else open_run(run)
    config = run.manifest["config"]
    revisions = config.get("revision") or {}
    named = {
        role: None if config.get(role) is None else Checkpoint(config[role], revision=revisions.get(role))
        for role in ("base", "aligned", "tuned")
    }
    triad = Triad(**named)  # type: ignore[arg-type]
    session = Session(
        triad,
        load_contrast(run.path / "contrast.jsonl"),
        directions=directions_in(run.path) if (run.path / "directions").is_dir() else None,
        fit=run.manifest["split"]["fit"],
        placement=placement or Placement(config["device"], config["device_map"], config["dtype"]),
        rendering=rendering_of(triad.aligned, config["template"], config["system"]),
    )
    return session, _named(triad, run.manifest["contrast"]["name"])


def _named(triad: Triad, contrast: str) -> str:
    """What the page is about, without the folders that lead there."""
    tuned, aligned = (Path(str(one)).name for one in (triad.tuned, triad.aligned))
    return f"{tuned} against {aligned}, on {contrast}"


def serve(session: Session, described: str, *, start: State | None, port: int, open_browser: bool) -> None:
    """Serve the page until Ctrl-C, then free the models."""
    from werkzeug.serving import make_server

    from erosion.exploring.page import page_of

    state = start or State(session.example, layer=session.layers[len(session.layers) // 2])
    app = page_of(session, state, described=described)
    token = secrets.token_urlsafe(24)
    _require_free(port)
    server = make_server(_HOST, port, app.server, threaded=True)
    guard(app.server, token, port=server.port)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    address = f"http://{_HOST}:{server.port}/?token={token}"
    print(f"Open {address}\nCtrl-C ends it.", flush=True)
    if open_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()  # returns at Ctrl-C
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        session.close()
    print("\nEnded.", flush=True)


def _require_dash() -> None:
    """Before any weights are read."""
    try:
        import erosion.exploring.page  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"The page needs Dash ({error}): pip install 'alignment-erosion[explore]', or dash>=4.4."
        ) from error


def _require_free(port: int) -> None:
    """Before any weights are read, and again when they are."""
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((_HOST, port))
    except OSError as error:
        raise BadInput(f"Port {port} cannot be used: choose another, or 0 for a free one.") from error


def guard(server: "Flask", token: str, *, port: int) -> None:
    """Refuse what is for another host, from another page, or without the token (in the address once, then
    in a cookie, which browsers also send for pages of other ports)."""
    from flask import Response, abort, request

    cookie, hosts = f"erosion-{port}", (f"{_HOST}:{port}", f"localhost:{port}")

    def right(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    @server.before_request
    def check() -> None:
        if request.host not in hosts:
            abort(403)
        if request.headers.get("Origin", f"http://{request.host}") != f"http://{request.host}":
            abort(403)
        if not (right(request.args.get("token")) or right(request.cookies.get(cookie))):
            abort(403)

    @server.after_request
    def after(response: Response) -> Any:
        if right(request.args.get("token")):
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response
