"""What is said: phrases, patterns, personal data, grammar, meaning; and the logic that joins conditions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from scoring_rules import measures, places
from scoring_rules.call import Call, Hit, Region, inside, touches
from scoring_rules.entities import entities
from scoring_rules.finder import (
    ANYONE,
    KNOWN,
    NOTHING,
    PARTIAL,
    UNKNOWN,
    Finder,
    Hits,
    Result,
    Scope,
    State,
    Stream,
    Work,
    in_order,
)
from scoring_rules.match import PATTERN, SOUND, WORDS
from scoring_rules.measures import WHOLE_CALL
from scoring_rules.model import (
    EVERYWHERE,
    All,
    AnyOf,
    AtLeast,
    Attribute,
    Condition,
    Duration,
    EmotionIs,
    Entity,
    Head,
    InOrder,
    Interruption,
    Language,
    Length,
    Loudness,
    Meaning,
    Not,
    Phrase,
    Regex,
    Repeat,
    ReplyLatency,
    SilenceIs,
    Slot,
    SpeechRate,
    TalkShare,
    TurnCount,
)
from scoring_rules.text import fold

# --- words -------------------------------------------------------------------------------------------------


_HOW = {SOUND: "pinyin", WORDS: "phrase", PATTERN: "regex"}


def _said(finder: Finder, test: Phrase | Regex, scope: Scope) -> Result:
    """Phrases, and patterns that are just words, are found before any rule is asked; other patterns are tried where one is."""
    call = finder.call
    atom = finder.plan.atoms[id(test)]
    waiting = finder.plan.open_slots.get(id(test))
    area = None
    if atom in call.left:
        area = finder.spoken(scope)
        call.block.tries.run(call.number, atom, area, call.found[atom])
    found = call.found.get(atom)
    if not found and not waiting:
        return NOTHING
    if area is None:
        area = finder.spoken(scope)
    if len(area) == 1:
        low, high = area[0]
        first, last = bisect_left(found or (), (low,)), bisect_left(found or (), (max(high, low + 1),))
        chosen = (found or ())[first:last]
    else:
        chosen = [one for one in found or () if inside(area, one[0])]
    starts = call.starts
    hits = [Hit(start, end, bisect_right(starts, start) - 1, _HOW[how], how != SOUND) for start, end, how in chosen]
    if waiting:
        hits += _named_in_call(finder, waiting, area)
    return hits, KNOWN


def _named_in_call(finder: Finder, phrases: Sequence[str], area: Region) -> list[Hit]:
    """Phrases whose slots the call's own attributes fill (the agent's name)."""
    call, view = finder.call, finder.call.view
    hits: list[Hit] = []
    if not call.starts:
        return hits
    low, high = (bisect_left(view.offsets, position) for position in (call.starts[0] - 1, call.ends[-1] + 1))  # with the word limits of English
    for phrase in phrases:
        for name, value in call.conversation.attributes.items():
            phrase = phrase.replace("{" + name + "}", str(value))
        if "{" in phrase or not (word := fold(phrase, finder.plan.language)).strip():
            continue
        at = view.compact.find(word, low, high)
        while at >= 0:
            start, end = view.offsets[at], view.offsets[at + len(word) - 1] + 1
            if inside(area, start):
                hits.append(Hit(start, end, call.turn_of(start), "phrase"))
            at = view.compact.find(word, at + 1, high)
    return hits


def _entity(finder: Finder, test: Entity, scope: Scope) -> Result:
    area = finder.spoken(scope)
    return [hit for hit in entities(finder.call, test.kinds) if inside(area, hit.start)], KNOWN


def _language(finder: Finder, test: Language, scope: Scope) -> Result:
    anchor = scope.anchor
    if anchor is not None and anchor.turn >= 0:
        return ([anchor] if _holds(finder.call, test, anchor) else []), KNOWN
    call, hits = finder.call, []
    for turn in finder.turns(scope):
        unit = "turn" if test.name == "backchannel" else "clause"
        for lo, hi in call.pieces(turn, unit):
            if (scope.region is None or inside(scope.region, lo)) and lo < hi:
                hit = Hit(lo, hi, turn, test.name)
                if _holds(call, test, hit):
                    hits.append(hit)
    return hits, KNOWN


def _holds(call: Call, test: Language, hit: Hit) -> bool:
    grammar = call.grammar
    if test.name == "backchannel":
        return grammar.is_backchannel(call.text((call.starts[hit.turn], call.ends[hit.turn]))) == test.wanted
    if test.name == "quoted":
        lo, hi = call.around(hit, "sentence")
        return grammar.is_quoted(call.plain[lo:hi], hit.start - lo, hit.end - lo) == test.wanted
    lo, hi = call.around(hit, "clause")
    clause = call.plain[lo:hi]
    if test.name == "question":
        return grammar.is_question(clause) == test.wanted
    if test.name == "subject":
        assert isinstance(test.wanted, tuple)
        return grammar.subject(clause, hit.start - lo, hit.end - lo) in test.wanted
    return grammar.is_denied(clause, hit.start - lo, hit.end - lo) == test.wanted


# --- meaning -----------------------------------------------------------------------------------------------


def _candidates(finder: Finder, among: Condition, unit: str, scope: Scope) -> Result:
    """The clauses, sentences or turns that hold a hit of the cheap condition."""
    call = finder.call
    hits, state = finder.find(among, scope)
    pieces: dict[tuple[int, int], Hit] = {}
    for hit in hits:
        if hit.turn >= 0:
            lo, hi = (call.starts[hit.turn], call.ends[hit.turn]) if unit == "turn" else call.around(hit, unit)
            pieces.setdefault((lo, hi), Hit(lo, hi, hit.turn, "meaning"))
    return list(pieces.values()), state


def _meaning(finder: Finder, test: Meaning, scope: Scope) -> Result:
    if reason := finder.minds.missing(test):
        return finder.unknown(reason)
    pieces, state = _candidates(finder, test.among, test.unit, scope)
    if not pieces:
        return [], state
    near = finder.minds.near(test, [finder.call.text((piece.start, piece.end)) for piece in pieces], finder.call)
    return [piece for piece, yes in zip(pieces, near, strict=True) if yes], state


def _head(finder: Finder, test: Head, scope: Scope) -> Result:
    if reason := finder.minds.missing(test):
        return finder.unknown(reason)
    answers = finder.minds.answers(test, finder)
    if not answers:
        return NOTHING
    area = finder.spoken(scope)
    return [hit for hit in answers if touches(area, hit.start, hit.end)], KNOWN


# --- logic -------------------------------------------------------------------------------------------------


_PLACELESS = frozenset((Not, Attribute, Slot))  # tests that find no place of their own


def _any(finder: Finder, test: AnyOf, scope: Scope) -> Hits:
    items = finder.items[id(test)]
    best = UNKNOWN if len(items) == len(test.items) else KNOWN
    worst = KNOWN
    for item in items:
        found = finder.look(item, scope)
        if type(found) is tuple:
            hits, state = found
            if hits:
                yield from hits
        else:
            state = yield from found  # type: ignore[misc]
        if state is KNOWN:
            best = state
        else:
            best, worst = state if state < best else best, state if state > worst else worst
    return UNKNOWN if best is UNKNOWN else PARTIAL if worst else KNOWN


def _all(finder: Finder, test: All, scope: Scope) -> Hits:
    items = finder.items[id(test)]
    first, others = items[0], items[1:]
    if type(first.test) in _PLACELESS and first.where is EVERYWHERE:
        return (yield from _all_about(finder, test, scope))
    found = finder.look(first, scope)
    end: State | None = None
    if isinstance(found, tuple):
        hits, end = found
        if not hits:
            return end
        source: Iterator[Hit] = iter(hits)
    else:
        source = found
    worst, any_hit, kept = KNOWN, False, False
    while True:
        try:
            hit = next(source)
        except StopIteration as stop:
            state = max(worst, stop.value if end is None else end)
            return state if kept or not any_hit or state is KNOWN else UNKNOWN
        any_hit = True
        holds, sure, judged = _others_hold(finder, test, others, hit, scope)
        if judged > worst:
            worst = judged
        if holds:
            kept = True
            yield hit if sure == hit.sure else hit._replace(sure=sure)


def _others_hold(finder: Finder, test: All, others: Sequence[Condition], hit: Hit, scope: Scope) -> tuple[bool, bool, State]:
    """Whether the other items of `all` hold in the unit of a hit, and surely."""
    area = places.unit(finder.call, hit, test.same)
    if area is None and test.same != "call":
        area = scope.region
    here = Scope(area, hit, ANYONE if area is None else scope.roles)
    sure, worst = hit.sure, KNOWN
    for item in others:
        found, judged = finder.first(item, here)
        if judged > worst:
            worst = judged
        if found is None:
            return False, False, worst
        sure = sure and found.sure
    return True, sure, worst


def _all_about(finder: Finder, test: All, scope: Scope) -> Hits:
    """Where no item finds a place: all must hold of the region, or of the hit at hand."""
    worst = KNOWN
    last: Hit | None = None
    for item in test.items:
        last, state = finder.first(item, scope)
        if last is None:
            return state
        worst = max(worst, state)
    if last is not None:
        yield last
    return worst


def _not(finder: Finder, test: Not, scope: Scope) -> Result:
    found, state = finder.first(test.item, scope)
    if found is not None:
        return NOTHING
    if state is not KNOWN:
        return [], UNKNOWN
    return [scope.anchor or WHOLE_CALL], KNOWN


def _at_least(finder: Finder, test: AtLeast, scope: Scope) -> Result:
    groups: dict[object, list[tuple[int, Hit]]] = {}
    worst = KNOWN
    for number, item in enumerate(test.items):
        found, state = finder.find(item, scope)
        worst = max(worst, state)
        for hit in found:
            area = places.unit(finder.call, hit, test.same)
            key = None if area is None else area[0]
            groups.setdefault(key, []).append((number, hit))
    hits = []
    for members in groups.values():
        members.sort(key=lambda pair: in_order(pair[1]))
        distinct = dict(reversed(members)) if len(test.items) > 1 else dict(enumerate(_apart(members)))
        if len(distinct) >= test.count:
            chosen = sorted(distinct.values(), key=in_order)
            hits.append(chosen[0]._replace(parts=tuple(chosen[1:]), sure=all(hit.sure for hit in chosen)))
    return hits, KNOWN if hits else worst


def _apart(members: Sequence[tuple[int, Hit]]) -> list[Hit]:
    """Hits that do not overlap, so that one event is not counted twice."""
    kept: list[Hit] = []
    for _, hit in members:
        if not kept or hit.start >= kept[-1].end or hit.turn < 0:
            kept.append(hit)
    return kept


def _sequence(finder: Finder, test: InOrder, scope: Scope) -> Result:
    found: list[list[Hit]] = []
    worst = KNOWN
    for item in test.items:
        hits, state = finder.find(item, scope)
        worst = max(worst, state)
        if not hits:
            return [], state
        found.append(sorted(hits, key=in_order))
    chains = []
    free = -1
    for first in found[0]:
        if first.start < free:
            continue
        chain = [first]
        for hits in found[1:]:
            following = next((hit for hit in hits if _follows(finder.call, chain[-1], hit, test)), None)
            if following is None:
                break
            chain.append(following)
        else:
            free = chain[-1].end
            chains.append(first._replace(parts=tuple(chain[1:]), sure=all(hit.sure for hit in chain)))
    return chains, worst


def _follows(call: Call, one: Hit, other: Hit, test: InOrder) -> bool:
    gap = test.gap
    if other.start < one.end or (other.turn < 0) != (one.turn < 0):
        return False
    if gap.unit == "rest":
        return True
    if gap.unit == "chars":
        return other.turn == one.turn and other.start - one.end <= gap.count
    if gap.unit == "turns":
        runs = call.runs(ANYONE)
        first, last = (runs.index(call.run_of(hit.turn)) for hit in (one, other))
        return last - first <= gap.count
    early, late = call.time_at(one), call.time_at(other)
    return early is not None and late is not None and late[0] - early[1] <= gap.count


WORK: dict[type, Work] = {
    Phrase: _said,
    Regex: _said,
    Entity: _entity,
    Language: _language,
    Meaning: _meaning,
    Head: _head,
    Not: _not,
    AtLeast: _at_least,
    InOrder: _sequence,
    Repeat: measures.repeat,
    EmotionIs: measures.emotion,
    SilenceIs: measures.silence,
    Interruption: measures.interruption,
    SpeechRate: measures.speech_rate,
    ReplyLatency: measures.reply_latency,
    TalkShare: measures.talk_share,
    Loudness: measures.loudness,
    Duration: measures.duration,
    TurnCount: measures.turn_count,
    Attribute: measures.attribute,
    Slot: measures.slot,
}
STREAMS: dict[type, Stream] = {AnyOf: _any, All: _all, Length: measures.length}
