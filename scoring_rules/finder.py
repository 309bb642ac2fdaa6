"""Finds conditions in one call: where each looks, in what order, and how much of the work is done.

What cannot be judged (no sentence model, no seconds …) finds nothing; `State` says so, and `call.reasons` collects
why. Patterns and logic give their hits one by one, so that whoever asks only whether something holds stops the work
at the first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from scoring_rules import places
from scoring_rules.call import Call, Hit, Region, common, joined
from scoring_rules.model import EVERYWHERE, All, AnyOf, Condition, Head, Length, Meaning, Near, Reason, Where
from scoring_rules.plan import Plan, conditions_of

Roles = tuple[str, ...]
ANYONE: Roles = ("any",)


class State(IntEnum):
    KNOWN = 0
    PARTIAL = 1  # part of it could not be judged
    UNKNOWN = 2  # none of it could be judged


KNOWN, PARTIAL, UNKNOWN = State  # asked thousands of times a call: a member by its name costs four times a global


class Scope(NamedTuple):
    """Where to look and what about. No region: the whole call, by the speakers of `roles`."""

    region: Region | None
    anchor: Hit | None  # the hit that relative places and questions of grammar are about
    roles: Roles


Result = tuple[list[Hit], State]
Hits = Generator[Hit, None, State]
NOTHING: Result = ([], KNOWN)
ANYWHERE = Scope(None, None, ANYONE)


class Minds:
    """Judges of meaning, as the evaluator hands them in. Without any, meaning is not evaluated."""

    def missing(self, test: Meaning | Head) -> Reason | None:
        """Why a condition of meaning cannot be judged at all; None where it can. Asked before candidates are sought."""
        return Reason.NO_ENCODER if isinstance(test, Meaning) else Reason.NO_HEAD

    def near(self, test: Meaning, texts: Sequence[str], call: Call) -> list[bool]:
        """For each text whether it lies near an exemplar."""
        raise NotImplementedError

    def answers(self, test: Head, finder: Finder) -> Sequence[Hit]:
        """The stretches of a call of which the heads answer a question with yes, and, not sure, with doubt."""
        raise NotImplementedError

    def shares(self, condition: Condition, piece: Hit, finder: Finder) -> tuple[tuple[str, float], ...]:
        """What spoke for and against a classifier's verdict, the heaviest first."""
        return ()


Work = Callable[[Any, Any, Scope], Result]
Stream = Callable[[Any, Any, Scope], Hits]


@dataclass(slots=True)
class Shared:
    """A shared condition in one region, as far as anybody has asked: nobody does the work again that is done."""

    rest: Hits
    hits: list[Hit] = field(default_factory=list)
    state: State | None = None  # once all hits are known
    told: list[tuple[int, set[str]]] = field(default_factory=list)  # reasons, and the hit on the way to which they came up


class Step(NamedTuple):
    """How a condition is looked for."""

    test: Any
    where: Where | None  # its own limits, where it has any
    work: Any  # gives all hits at once …
    stream: Stream | None  # … or, where there is one, gives them one by one
    of: tuple[tuple[int, Condition], ...]  # the items of logic, each with its id
    shared: bool  # by rules: its answer is kept


def steps_of(plan: Plan, work: Mapping[type, Work], streams: Mapping[type, Stream]) -> dict[int, Step]:
    """By id, the steps of a plan's conditions. work, streams: how each kind of test is done."""
    found = {}
    for rule in plan.rules:
        for condition in conditions_of(rule):
            kind = type(condition.test)
            where = None if condition.where is EVERYWHERE else condition.where
            of = tuple((id(item), item) for item in condition.test.items) if isinstance(condition.test, AnyOf | All) else ()
            found[id(condition)] = Step(condition.test, where, work.get(kind), streams.get(kind), of, bool(condition.name))
    return found


class Finder:
    """Finds conditions in one call. steps: how each is done, by id (`steps_of`)."""

    def __init__(self, plan: Plan, call: Call, minds: Minds, steps: Mapping[int, Step]) -> None:
        self.plan, self.call, self.minds, self._steps = plan, call, minds, steps
        self.open = plan.opened([*call.found, *call.left])
        self._closed = plan.gated.difference(self.open)
        self.items: dict[int, tuple[Condition, ...]] = {}  # of a test that was looked for, those that may hold: see `live`

    # --- asking

    def find(self, condition: Condition, scope: Scope) -> Result:
        """All hits of a condition."""
        found = self.look(condition, scope)
        if type(found) is tuple:
            return found
        hits: list[Hit] = []
        while True:
            try:
                hits.append(next(found))  # type: ignore[arg-type]
            except StopIteration as stop:
                return hits, stop.value

    def first(self, condition: Condition, scope: Scope) -> tuple[Hit | None, State]:
        """One hit, a sure one where there is one: as much of the work is done as that takes."""
        found = self.look(condition, scope)
        if type(found) is tuple:
            hits, state = found
            for hit in hits:
                if hit.sure:
                    return hit, KNOWN
            return (hits[0] if hits else None), state
        doubtful: Hit | None = None
        while True:
            try:
                hit = next(found)  # type: ignore[arg-type]
            except StopIteration as stop:
                return doubtful, stop.value
            if hit.sure:
                return hit, KNOWN
            doubtful = doubtful or hit

    def live(self, test: All | AnyOf, items: tuple[tuple[int, Condition], ...]) -> tuple[Condition, ...]:
        """The items of a test (each with its id) that may hold in this call; of `all` none where one may not."""
        closed = self._closed
        found = tuple([item for key, item in items if key not in closed])
        if type(test) is All and len(found) < len(items):
            found = ()
        self.items[id(test)] = found
        return found

    def look(self, condition: Condition, scope: Scope) -> Result | Hits:
        """The hits of a condition: all of them, or one by one from a generator whose return value is the state."""
        key = id(condition)
        if key in self._closed:
            return NOTHING
        test, where, work, stream, of, shared = self._steps[key]
        if where is not None:
            narrowed = self.narrowed(where, scope)
            if narrowed is None:
                return self.unknown(Reason.NO_TIMES)
            scope = narrowed
        if stream is None:
            return work(self, test, scope)
        if of:
            items = self.items.get(id(test))
            if not (self.live(test, of) if items is None else items):
                return NOTHING
        if shared and scope.anchor is None:
            return self._shared(condition, scope, stream)
        return stream(self, test, scope)

    def _shared(self, condition: Condition, scope: Scope, stream: Stream) -> Result | Hits:
        """A shared condition that depends on no hit gives the same answer to every rule."""
        memory = self.call.memory
        key = id(condition.test), scope.region, scope.roles
        shared = memory.get(key)
        if shared is None:
            shared = memory[key] = Shared(stream(self, condition.test, scope))
        elif shared.state is not None and not shared.told:  # type: ignore[attr-defined]
            return shared.hits, shared.state  # type: ignore[attr-defined]
        return self._replay(shared, key)  # type: ignore[arg-type]

    def _replay(self, shared: Shared, key: object) -> Hits:
        hits, told, at = shared.hits, shared.told, 0
        reasons = 0  # of `told`, passed on
        while True:
            if at == len(hits) and shared.state is None:
                self._pull(shared, key)
            while reasons < len(told) and told[reasons][0] <= at:
                self.call.reasons |= told[reasons][1]
                reasons += 1
            if at == len(hits):
                assert shared.state is not None
                return shared.state
            yield hits[at]
            at += 1

    def _pull(self, shared: Shared, key: object) -> None:
        """One hit more, or the end, and what could not be judged on the way."""
        call = self.call
        outer, call.reasons = call.reasons, set()
        try:
            shared.hits.append(next(shared.rest))
            place = len(shared.hits) - 1
        except StopIteration as stop:
            shared.state = stop.value
            place = len(shared.hits)
        if call.reasons:
            shared.told.append((place, call.reasons))
        call.reasons = outer
        if call.waiting:  # for embeddings: what is found without them is not the answer
            call.memory.pop(key, None)

    # --- where

    def narrowed(self, where: Where, scope: Scope) -> Scope | None:
        """The scope that a condition's own limits leave; None where seconds would be needed and are not there."""
        call = self.call
        roles = where.speaker or (ANYONE if where.places else scope.roles)
        if not (where.first or where.last or where.near):  # most of them
            if where.speaker and not where.places:
                return Scope(call.region(roles), scope.anchor, roles)
            if scope.anchor is not None and len(where.places) == 1 and not where.speaker:
                return Scope(places.place(call, where.places[0], scope.anchor), None, roles)
        anchor = None if where.places else scope.anchor
        parts: list[Region] = []
        if where.places:
            if scope.anchor is None:
                parts.append(call.region(ANYONE))
            else:
                near = [places.place(call, place, scope.anchor) for place in where.places]
                parts.append(near[0] if len(near) == 1 else joined(near))
        elif scope.region is not None and not where.speaker:
            parts.append(scope.region)
        spoken = False  # whether a part already holds nothing but turns of these speakers
        for amount, last in ((where.first, False), (where.last, True)):
            if amount is not None:
                part = places.edge(call, amount, roles, last=last)
                if part is None:
                    return None
                parts.append(part)
                spoken |= not amount.role
        if where.near:
            part = self.near(where.near)
            if part is None:
                return None
            parts.append(part)
        if (where.speaker and not spoken) or (scope.region is None and not where.places and not spoken):
            parts.append(call.region(roles))
        found = parts[0]
        for part in parts[1:]:
            found = common(found, part)
        return Scope(found, anchor, roles)

    def near(self, near: Near) -> Region | None:
        windows = []
        for hit in self.anchors(near)[0]:
            part = places.window(self.call, hit, near.before, near.after)
            if part is None:
                return None
            windows.append(part)
        return joined(windows)

    def anchors(self, near: Near) -> Result:
        """The hits around which a `near` looks."""
        key = id(near)
        known = self.call.memory.get(key)
        if known is None:
            if near.which == "first" and type(near.of.test) is Length:  # whose hits come in order
                hit, state = self.first(near.of, ANYWHERE)
                hits = [] if hit is None else [hit]
            else:
                hits, state = self.find(near.of, ANYWHERE)
                hits = sorted(hits, key=in_order)
            if near.which == "first":
                hits = hits[:1]
            elif near.which == "last":
                hits = hits[-1:]
            elif near.which == "nth":
                hits = hits[near.nth - 1 : near.nth]
            known = hits, state
            if not self.call.waiting and state is KNOWN:
                self.call.memory[key] = known
        return known  # type: ignore[return-value]

    def spoken(self, scope: Scope) -> Region:
        """The region, or all turns of the speakers meant."""
        return self.call.region(scope.roles) if scope.region is None else scope.region

    def turns(self, scope: Scope) -> list[int]:
        """Indices of the turns of which a part lies in the region, of the speakers meant."""
        call = self.call
        if scope.region is not None:
            found = dict.fromkeys([call.turn_of(lo) for lo, _ in scope.region])
            return [index for index in found if call.is_of(index, scope.roles)]
        if "any" in scope.roles:
            return list(range(len(call.turns)))
        return [index for index, role in enumerate(call.role) if role in scope.roles]

    def unknown(self, reason: Reason) -> Result:
        self.call.reasons.add(reason.value)
        return [], UNKNOWN


def in_order(hit: Hit) -> tuple[int, float]:
    """By place, a silence where the turn before it ends; by time where two stand at one place."""
    return (hit.start, hit.time[0] if hit.time else 0.0)
