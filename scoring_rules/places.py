"""Where a condition looks: limits and relative places turned into regions of a call."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter

from scoring_rules.call import Call, Hit, Region, common, joined
from scoring_rules.grammar import Interval, piece_at
from scoring_rules.model import Amount, Place, Where

_first, _last = itemgetter(0), itemgetter(1)


def unit(call: Call, hit: Hit, name: str) -> Region | None:
    """The clause, sentence or turn (an unbroken run of one role) of a hit; None: the whole call."""
    if name == "call" or hit.turn < 0:
        return None
    if name == "turn":
        return call.run_region(hit.turn)
    return (call.around(hit, name),)


def place(call: Call, where: Place, hit: Hit) -> Region:
    """The region that a place relative to a hit names."""
    name = where.name
    if name == "call" or (hit.turn < 0 and not hit.turns):
        return call.region(("any",))
    if name in ("previous", "next"):
        assert where.amount is not None
        return runs_beside(call, hit, where.amount, forward=name == "next")
    if name in ("earlier", "later"):
        return runs_beside(call, hit, Amount(0, "rest"), forward=name == "later")
    if hit.turn < 0:
        return call.stretch(min(hit.turns), max(hit.turns))
    if name == "hit":
        return ((hit.start, max(hit.end, hit.start + 1)),)
    if name == "turn":
        return call.run_region(hit.turn)
    if name in ("clause", "sentence"):
        return (call.around(hit, name),)
    start, end = call.starts[hit.turn], call.ends[hit.turn]
    if name == "before":
        return ((start, hit.start),)
    if name == "after":
        return ((min(hit.end, end), end),)
    clauses = call.clauses(hit.turn)
    if name == "clause before":
        index = piece_at(clauses, hit.start) - 1
    else:
        index = piece_at(clauses, max(hit.start, hit.end - 1)) + 1
    return (clauses[index],) if 0 <= index < len(clauses) else ()


def runs_beside(call: Call, hit: Hit, amount: Amount, *, forward: bool) -> Region:
    """The next (or previous) so many runs of the amount's role, not the hit's own."""
    roles = (amount.role,) if amount.role else ("any",)
    runs = call.runs(roles)
    low, high = _own(call, hit)
    count = len(runs) if amount.unit == "rest" else int(amount.count)
    if forward:
        at = bisect_right(runs, high, key=_last)
        side = runs[at : at + count]
        return call.stretch(max(side[0][0], high + 1), side[-1][1], roles) if side else ()
    at = bisect_left(runs, low, key=_first)
    side = runs[max(0, at - count) : at]
    return call.stretch(side[0][0], min(side[-1][1], low - 1), roles) if side else ()


def _own(call: Call, hit: Hit) -> Interval:
    """First and last turn index of what the hit itself is; a silence lies between its turns, and parts their run."""
    if hit.turn >= 0:
        return call.run_of(hit.turn)
    if len(hit.turns) == 2:
        return hit.turns[1], hit.turns[0]
    return (hit.turns[0], hit.turns[0]) if hit.turns else (0, len(call.turns))


def edge(call: Call, amount: Amount, roles: tuple[str, ...], *, last: bool) -> Region | None:
    """The first (or last) so many turns of these roles, or turns that begin in the first seconds; None without times."""
    key = (id(amount), roles, last)  # the pack's own amount: its hash is slow
    if key not in call.memory:
        call.memory[key] = _edge(call, amount, roles, last=last)
    return call.memory[key]  # type: ignore[return-value]


def _edge(call: Call, amount: Amount, roles: tuple[str, ...], *, last: bool) -> Region | None:
    if amount.unit == "turns":
        runs = call.runs((amount.role,) if amount.role else roles)
        count = int(amount.count)
        chosen = runs[-count:] if last else runs[:count]
        return joined([call.stretch(*run) for run in chosen])
    end = call.end_time()
    if end is None or not call.all_begin:
        return None
    return tuple(
        (call.starts[index], call.ends[index])
        for index, turn in enumerate(call.turns)
        if call.is_of(index, roles)
        and turn.start is not None
        and (turn.start >= end - amount.count if last else turn.start < amount.count)
    )


def window(call: Call, hit: Hit, before: Amount | None, after: Amount | None) -> Region | None:
    """The region around a hit; None where seconds are asked for and there are none."""
    parts: list[Region] = []
    for amount, forward in ((before, False), (after, True)):
        if amount is None:
            continue
        if amount.unit == "chars":
            if hit.turn >= 0:
                lo, hi = call.starts[hit.turn], call.ends[hit.turn]
                count = int(amount.count)
                parts.append(((hit.end, min(hi, hit.end + count)),) if forward else ((max(lo, hit.start - count), hit.start),))
            continue
        if amount.unit == "seconds":
            time = call.time_at(hit)
            if time is None or not call.all_begin:
                return None
            low, high = (time[1], time[1] + amount.count) if forward else (time[0] - amount.count, time[0])
            parts.append(_spoken_between(call, low, high))
        else:
            parts.append(runs_beside(call, hit, amount, forward=forward))
        if hit.turn >= 0:
            parts.append(_own_side(call, hit, forward))
    return joined(parts)


def _own_side(call: Call, hit: Hit, forward: bool) -> Region:
    """What stands before or after a hit in its own run of turns."""
    span = ((hit.end, call.ends[-1]),) if forward else ((0, hit.start),)
    return common(call.run_region(hit.turn), span)


def _spoken_between(call: Call, low: float, high: float) -> Region:
    return tuple(
        (call.starts[index], call.ends[index])
        for index, turn in enumerate(call.turns)
        if turn.start is not None and turn.start < high and (turn.end or turn.start) > low
    )


def limited(call: Call, where: Where) -> bool:
    return bool(where.speaker or where.first or where.last or where.near or where.places)
