"""The models behind the page: asked one after the other in a thread of their own, each word as it comes.

Checkpoints that stand on the same weights (a LoRA fine-tune) are one load; where all the weights are small
together they stay in memory, else one at a time does. A new question ends the old one after the next token.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from erosion.activations import directions_of, read
from erosion.directions import Direction, difference_of_means
from erosion.errors import BadInput, ErosionError
from erosion.exploring.states import State
from erosion.interventions import Intervention, ablate, parse_scope, steer
from erosion.models import Model, Placement, find, generate, load, load_tokenizer, rendering_of, shape_of
from erosion.prompts import Contrast, Exchange, Message
from erosion.prompts.rendering import Rendering
from erosion.sites import Site, residuals
from erosion.token_projections import project_tokens
from erosion.triads import Checkpoint, Triad

__all__ = ["EDITED", "Answer", "Session"]

EDITED = "edited"
_KEPT = 4e9  # bytes of weights that may stay in memory together
_FITTED = 48  # questions that a direction, or its middle, is taken from


@dataclass(frozen=True, eq=False)
class Answer:
    """What one model said so far; ``words`` and their positions by layer come when it has ended.

    ``positions[layer][token]`` is in fitted gaps from midway between the sides, ``start`` where the answer
    begins among the words. ``rate`` is in tokens per second.
    """

    text: str = ""
    state: str = "waiting"  # waiting, loading, answering, done, stopped
    why: str = ""
    words: tuple[str, ...] = ()
    start: int = 0
    positions: Sequence[Sequence[float]] = ()
    rate: float = 0.0
    first: float = 0.0


@dataclass
class _Turn:
    """One question being answered."""

    state: State
    number: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    answers: dict[str, Answer] = field(default_factory=dict)
    thread: threading.Thread | None = None


class Session:
    """A triad and its directions, asked one question at a time.

    Args:
        triad: the models.
        contrast: what directions are fitted on, and where the middle between the sides lies: its first
            questions of ``fit``.
        directions: site -> direction; fitted here on those questions where there are none.
        fit: the questions that may be fitted on; all when not given.
        placement: where the models sit.
        rendering: the chat template; the aligned model's own when not given.

    Memory: the weights of all models where they are under 4 GB together, of the largest elsewhere.
    """

    def __init__(
        self,
        triad: Triad,
        contrast: Contrast,
        *,
        directions: Mapping[Site, Direction] | None = None,
        fit: Sequence[str] | None = None,
        placement: Placement | None = None,
        rendering: Rendering | None = None,
    ) -> None:
        self.checkpoints: dict[str, Checkpoint] = dict(triad)
        self.placement = placement
        self.rendering = rendering or rendering_of(triad.aligned)
        shapes = {name: shape_of(one) for name, one in self.checkpoints.items()}
        self._tokenizer = load_tokenizer(triad.aligned)
        self.n_layers = shapes["aligned"].n_layers
        distinct = {str(find(one).weights): shapes[name].n_bytes for name, one in self.checkpoints.items()}
        self.bytes = sum(distinct.values())
        self.keeps_all = self.bytes < _KEPT
        self._loaded: dict[str, Model] = {}
        self._lock, self._asking, self._turn = threading.Lock(), threading.Lock(), _Turn(State())
        self._turn.ended.set()
        asked = [q for q in contrast.questions if fit is None or q in set(fit)]
        few = contrast.only(asked[:_FITTED], name="fit")
        self.example = _unseen(contrast, asked if fit is not None else few.questions)
        with self._lock, ExitStack() as stack:
            acts = read(self._model("aligned", stack), few, sites=residuals(range(self.n_layers)))
        self.fitted_here = not directions
        self.directions = dict(directions or directions_of(acts, difference_of_means))
        self.layers = tuple(site.layer for site in self.directions)
        self._middles = {
            site: sum(
                float(side[site].double().mean(0) @ v.vector.double())
                for side in (acts.aligned, acts.misaligned)
            )
            / (2 * v.scale)
            for site, v in self.directions.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What answers, in order: the models, then the edited one."""
        return (*self.checkpoints, EDITED)

    def ask(self, state: State) -> None:
        """Begin to answer; what was being answered ends.

        Raises:
            BadInput: an empty prompt, or a layer or model that is not there.
        """
        if not state.prompt.strip():
            raise BadInput("The prompt is empty: type a question.")
        if state.layer not in self.layers:
            raise BadInput(f"There is no direction at layer {state.layer}: choose one of {self.layers}.")
        if state.edited not in self.checkpoints:
            raise BadInput(
                f"There is no model {state.edited!r}: choose one of {', '.join(self.checkpoints)}."
            )
        turn = _Turn(state, answers={name: Answer() for name in self.names})
        turn.thread = threading.Thread(target=self._work, args=(turn,), daemon=True)
        with self._asking:  # of two clicks at once, the later one is answered
            self.stop()
            turn.number = self._turn.number + 1
            self._turn = turn
            turn.thread.start()

    def stop(self) -> None:
        """End the answers after the token they are at."""
        self._turn.stopped.set()

    def close(self) -> None:
        """End the answers and free the weights."""
        self.stop()
        if self._turn.thread is not None:
            self._turn.thread.join()
        with self._lock:
            for model in self._loaded.values():
                model.close()
            self._loaded.clear()

    def unknown(self, prompt: str) -> str:
        """What the prompt holds that the models' tokenizer has no token for, in one sentence; or nothing."""
        ids = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        missing = sum(one == self._tokenizer.unk_token_id for one in ids)
        if not missing:
            return ""
        return (
            f"{missing} of the prompt's {len(ids)} tokens {'is' if missing == 1 else 'are'} unknown to these "
            "models: no such word is read."
        )

    @property
    def answers(self) -> Mapping[str, Answer]:
        """What each said so far."""
        return dict(self._turn.answers)

    @property
    def asked(self) -> State:
        """What is being answered, or was last."""
        return self._turn.state

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return not self._turn.ended.is_set()

    @property
    def turn(self) -> int:
        """How many questions were asked."""
        return self._turn.number

    def _work(self, turn: _Turn) -> None:
        try:
            with self._lock:  # a stopped turn lets go of it after its token
                for name in self.names:
                    self._answer_or_say(turn, name)
        finally:
            turn.ended.set()

    def _answer_or_say(self, turn: _Turn, name: str) -> None:
        if turn.stopped.is_set():
            turn.answers[name] = replace(turn.answers[name], state="stopped")
            return
        try:
            self._answer(turn, name)
        except ErosionError as error:
            turn.answers[name] = replace(turn.answers[name], state="done", why=str(error))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            turn.answers[name] = replace(turn.answers[name], state="done", why=why)

    def _answer(self, turn: _Turn, name: str) -> None:
        state = turn.state
        under = self._edits(state) if name == EDITED else ()
        turn.answers[name] = Answer(state="loading")
        with ExitStack() as stack:
            model = self._model(state.edited if name == EDITED else name, stack)
            asked = (Message("user", state.prompt),)
            began, told = time.perf_counter(), 0
            first = 0.0

            def listen(_: int, text: str) -> bool:
                nonlocal told, first
                told += 1
                first = first or time.perf_counter() - began
                rate = told / max(time.perf_counter() - began, 1e-9)
                turn.answers[name] = Answer(text, "answering", rate=rate, first=first)
                return not turn.stopped.is_set()

            turn.answers[name] = Answer(state="answering")
            (reply,) = generate(
                model,
                [asked],
                under=under,
                max_new_tokens=state.max_new_tokens,
                temperature=state.temperature,
                seed=state.seed,
                listen=listen,
            )
            ended = "stopped" if turn.stopped.is_set() else "done"
            said = replace(turn.answers[name], text=reply.text, state=ended)
            turn.answers[name] = said if not reply.text else self._placed(said, model, asked, under)

    def _placed(
        self, said: Answer, model: Model, asked: tuple[Message, ...], under: Sequence[Intervention]
    ) -> Answer:
        """The answer's words with their positions, read under the edit that they were written under."""
        exchange = Exchange("asked", asked, said.text, "asked", "aligned")
        with model.applied(under):
            found = project_tokens(model, [exchange], self.directions)
        values, words = found.values[exchange.id], found.words[exchange.id]
        start, stop = found.responses[exchange.id]
        rows = [(values[i, :stop] - self._middles[site]).tolist() for i, site in enumerate(self.directions)]
        return replace(said, words=words[:stop], start=start, positions=rows)

    def _edits(self, state: State) -> tuple[Intervention, ...]:
        v = next(one for site, one in self.directions.items() if site.layer == state.layer)
        scope = parse_scope(state.scope)
        if state.edit == "ablate":
            return (ablate(v, scope=scope),)
        return () if state.by == 0 else (steer(v, by=state.by, scope=scope),)

    def _model(self, name: str, stack: ExitStack) -> Model:
        """The named model, loaded or switched to until ``stack`` closes."""
        checkpoint = self.checkpoints[name]
        weights = str(find(checkpoint).weights)
        if weights not in self._loaded:
            if not self.keeps_all:
                for other in self._loaded.values():
                    other.close()
                self._loaded.clear()
            self._loaded[weights] = self._load(checkpoint, weights)
        model = self._loaded[weights]
        stack.enter_context(model.using(checkpoint))
        return model

    def _load(self, checkpoint: Checkpoint, weights: str) -> Model:
        also = [one for one in self.checkpoints.values() if str(find(one).weights) == weights]
        return load(checkpoint, placement=self.placement, rendering=self.rendering, also=also)


def _unseen(contrast: Contrast, fitted: Sequence[str]) -> str:
    """What is asked in the contrast's first question that no direction was fitted on, where there is one."""
    asked = {one.question: one.messages[-1].content for one in contrast.exchanges}
    seen = set(fitted)
    return next((said for one, said in asked.items() if one not in seen), next(iter(asked.values())))
