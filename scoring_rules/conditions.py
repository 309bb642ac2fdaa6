"""What each condition means: `find` gives the hits of a condition in a region, and whether it could be judged.

A region of None is the whole call, by the speakers of `call.roles`. What cannot be judged (no sentence model, no
seconds …) finds nothing; `State` says so, and `call.reasons` collects why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from statistics import median
from typing import Any

from scoring_rules import places
from scoring_rules.call import Call, Hit, Region, common, inside, joined
from scoring_rules.entities import entities
from scoring_rules.match import SOUND
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
    Near,
    Not,
    Phrase,
    Reason,
    Regex,
    Repeat,
    ReplyLatency,
    SilenceIs,
    Slot,
    SpeechRate,
    TalkShare,
    TurnCount,
    Where,
)  # fmt: skip
from scoring_rules.plan import Plan, Tried
from scoring_rules.text import fold

EMOTION_LEVEL = 0.5  # a label is taken for the turn's emotion from even odds on
REPEAT_REACH = 12  # turns of the same speaker that a repetition may lie back: keeps the cost linear
_ANYONE = ("any",)


class State(IntEnum):
    KNOWN = 0
    PARTIAL = 1  # part of it could not be judged
    UNKNOWN = 2  # none of it could be judged


Result = tuple[list[Hit], State]
NOTHING: Result = ([], State.KNOWN)


class Finder:
    """Finds conditions in one call. `meaning` and `head` come from outside, because they need a model."""

    def __init__(self, plan: Plan, call: Call, minds: Minds) -> None:
        self.plan, self.call, self.minds = plan, call, minds
        self.open = plan.open_conditions(call.found) | plan.open_conditions(-1 - word for word in call.words)

    def find(self, condition: Condition, region: Region | None, anchor: Hit | None) -> Result:
        """The hits of a condition; `anchor` is the hit that relative places and questions of grammar are about."""
        key = id(condition)
        if key not in self.open and key in self.plan.gated:
            return NOTHING
        if condition.where is EVERYWHERE:
            return _FIND[type(condition.test)](self, condition.test, region, anchor)
        if not condition.name or anchor is not None or region is not None:
            return self._within(condition, region, anchor, _FIND[type(condition.test)])
        return self._remembered(condition)

    def first(self, condition: Condition, region: Region | None, anchor: Hit | None) -> tuple[Hit | None, State]:
        """One hit, a sure one where there is one: as much of the work is done as that takes."""
        key = id(condition)
        if key not in self.open and key in self.plan.gated:
            return None, State.KNOWN
        test = condition.test
        one = _FIRST.get(type(test))
        if one is None:
            hits, state = self.find(condition, region, anchor)
            return (_surest(hits) if hits else None), state
        if condition.where is EVERYWHERE:
            return one(self, test, region, anchor)
        return self._within(condition, region, anchor, one)

    def holds(self, condition: Condition, region: Region | None, anchor: Hit | None) -> tuple[bool, bool, State]:
        """Whether a condition holds at all, and surely."""
        hit, state = self.first(condition, region, anchor)
        return hit is not None, hit is not None and hit.sure, state

    def _within(self, condition: Condition, region: Region | None, anchor: Hit | None, work: Callable[..., Any]) -> Any:
        """Does the work of a condition where its `where` says."""
        call, where = self.call, condition.where
        roles = call.roles
        if where.speaker:
            call.roles = where.speaker
        elif where.places:
            call.roles = _ANYONE
        try:
            limits = self.limits(where, region, anchor)
            if limits is None:
                found = self.unknown(Reason.NO_TIMES)
                return found if work in _FINDERS else (None, found[1])
            return work(self, condition.test, limits[0], None if where.places else anchor)
        finally:
            call.roles = roles

    def _remembered(self, condition: Condition) -> Result:
        """A shared condition asked of the whole call gives the same answer to every rule."""
        call = self.call
        key = id(condition), call.roles
        known = call.memory.get(key)
        if known is None:
            before = set(call.reasons)
            result = self._within(condition, None, None, _FIND[type(condition.test)])
            if call.waiting:
                return result
            known = call.memory[key] = (result, frozenset(call.reasons - before))
        result, reasons = known  # type: ignore[misc]
        call.reasons |= reasons
        return result

    def limits(self, where: Where, region: Region | None, anchor: Hit | None) -> tuple[Region | None] | None:
        """The region that is left of `region`, in a tuple; None where seconds would be needed and are not there."""
        call = self.call
        parts: list[Region] = []
        if len(where.places) == 1 and anchor is not None and not where.first and not where.last and not where.near:
            found = places.place(call, where.places[0], anchor)
            return (common(found, call.region(where.speaker)) if where.speaker else found,)
        if where.places:
            if anchor is None:
                parts.append(call.region(_ANYONE))
            else:
                parts.append(joined([places.place(call, place, anchor) for place in where.places]))
        elif region is not None and not where.speaker:
            parts.append(region)
        spoken = False  # whether a part already holds the speakers' turns alone
        for amount, last in ((where.first, False), (where.last, True)):
            if amount is not None:
                part = places.edge(call, amount, call.roles, last=last)
                if part is None:
                    return None
                parts.append(part)
                spoken |= not amount.role
        if where.near:
            part = self.near(where.near)
            if part is None:
                return None
            parts.append(part)
            spoken |= call.roles == _ANYONE
        if (where.speaker and not spoken) or not parts or (where.near and not spoken and not where.places and region is None):
            parts.append(call.region(call.roles))
        found = parts[0]
        for part in parts[1:]:
            found = common(found, part)
        return (found,)

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
        roles, self.call.roles = self.call.roles, _ANYONE
        try:
            hits, state = self.find(near.of, None, None)
        finally:
            self.call.roles = roles
        hits = sorted(hits, key=_order)
        if near.which == "first":
            hits = hits[:1]
        elif near.which == "last":
            hits = hits[-1:]
        elif near.which == "nth":
            hits = hits[near.nth - 1 : near.nth]
        return hits, state

    def unknown(self, reason: Reason) -> Result:
        self.call.reasons.add(reason.value)
        return [], State.UNKNOWN

    def spoken(self, region: Region | None) -> Region:
        return self.call.region(self.call.roles) if region is None else region

    def turns(self, region: Region | None) -> list[int]:
        """Indices of the turns of which a part lies in the region, of the speakers meant."""
        call = self.call
        if region is None:
            return [index for index in range(len(call.turns)) if call.is_of(index, call.roles)]
        found = dict.fromkeys(call.turn_of(lo) for lo, _ in region)
        return [index for index in found if call.is_of(index, call.roles)] if call.roles != _ANYONE else list(found)


def _order(hit: Hit) -> tuple[float, int]:
    return (hit.time[0] if hit.time and hit.turn < 0 else hit.start, hit.start)


# --- words -------------------------------------------------------------------------------------------------


def _phrase(finder: Finder, test: Phrase, region: Region | None, _: Hit | None) -> Result:
    call = finder.call
    found = call.found.get(finder.plan.atoms[id(test)])
    waiting = finder.plan.open_slots.get(id(test))
    if not found and not waiting:
        return NOTHING
    area = finder.spoken(region)
    hits = [
        Hit(start, end, call.turn_of(start), "pinyin" if how == SOUND else "phrase", how != SOUND)
        for start, end, how in found or ()
        if inside(area, start)
    ]
    if waiting:
        hits += _named_in_call(finder, waiting, area)
    return hits, State.KNOWN


def _first_phrase(finder: Finder, test: Phrase, region: Region | None, _: Hit | None) -> tuple[Hit | None, State]:
    call, doubtful = finder.call, None
    area = finder.spoken(region)
    for start, end, how in call.found.get(finder.plan.atoms[id(test)], ()):
        if inside(area, start):
            if how != SOUND:
                return Hit(start, end, call.turn_of(start), "phrase"), State.KNOWN
            doubtful = doubtful or Hit(start, end, call.turn_of(start), "pinyin", False)
    waiting = finder.plan.open_slots.get(id(test))
    if waiting:
        return next(iter(_named_in_call(finder, waiting, area)), doubtful), State.KNOWN
    return doubtful, State.KNOWN


def _named_in_call(finder: Finder, phrases: Sequence[str], area: Region) -> list[Hit]:
    """Phrases whose slots the call's own attributes fill (the agent's name)."""
    call, view = finder.call, finder.call.view
    hits = []
    for phrase in phrases:
        for name, value in call.conversation.attributes.items():
            phrase = phrase.replace("{" + name + "}", str(value))
        if "{" in phrase or not (word := fold(phrase, finder.plan.language)).strip():
            continue
        at = view.compact.find(word)
        while at >= 0:
            start, end = view.offsets[at], view.offsets[at + len(word) - 1] + 1
            if inside(area, start):
                hits.append(Hit(start, end, call.turn_of(start), "phrase"))
            at = view.compact.find(word, at + 1)
    return hits


def _regex(finder: Finder, test: Regex, region: Region | None, _: Hit | None) -> Result:
    hits = list(_regex_hits(finder, test, region))
    return (hits, State.KNOWN) if hits else NOTHING


def _first_regex(finder: Finder, test: Regex, region: Region | None, _: Hit | None) -> tuple[Hit | None, State]:
    return next(_regex_hits(finder, test, region), None), State.KNOWN


def _regex_hits(finder: Finder, test: Regex, region: Region | None) -> Iterator[Hit]:
    call = finder.call
    worth = _worth_trying(finder, test)
    area = finder.spoken(region) if worth else ()
    if not area:
        return
    low, high = area[0][0], area[-1][1]
    for tried, turns in worth:
        if tried.pattern is None:
            for word in tried.sets[0] & call.word_set:
                for start, end in call.words[word]:
                    if inside(area, start) and end <= call.ends[turn := call.turn_of(start)]:
                        yield Hit(start, end, turn, "regex")
            continue
        for turn in turns:
            if low <= call.ends[turn] and call.starts[turn] < high:
                for hit in _matches(call, tried, turn):
                    if inside(area, hit.start):
                        yield hit


def _worth_trying(finder: Finder, test: Regex) -> list[tuple[Tried, Sequence[int]]]:
    """The alternatives of a pattern that this call's words leave possible, each with its turns; worked out once."""
    call = finder.call
    known = call.memory.get(id(test))
    if known is None:
        known = []
        for tried in finder.plan.patterns[id(test)]:
            if tried.pattern is None:
                if not tried.sets[0].isdisjoint(call.word_set):
                    known.append((tried, ()))
                continue
            if any(words.isdisjoint(call.word_set) for words in tried.sets):
                continue
            turns: set[int] | None = None
            for words in tried.sets:
                turns = call.turns_with(words) if turns is None else turns & call.turns_with(words)
                if not turns:
                    break
            if turns is None:
                known.append((tried, range(len(call.turns))))
            elif turns:
                known.append((tried, sorted(turns)))
        call.memory[id(test)] = known
    return known  # type: ignore[return-value]


def _matches(call: Call, tried: Tried, turn: int) -> Sequence[Hit]:
    """The matches of a pattern in a turn, worked out once. Patterns are matched over whole turns."""
    key = id(tried.pattern), turn
    found = call.memory.get(key)
    if found is None:
        start = call.starts[turn]
        spans = [match.span() for match in tried.pattern.finditer(call.plain[start : call.ends[turn]])]
        found = call.memory[key] = [Hit(start + lo, start + hi, turn, "regex") for lo, hi in spans if lo < hi]
    return found  # type: ignore[return-value]


def _entity(finder: Finder, test: Entity, region: Region | None, _: Hit | None) -> Result:
    area = finder.spoken(region)
    return [hit for hit in entities(finder.call, test.kinds) if inside(area, hit.start)], State.KNOWN


def _language(finder: Finder, test: Language, region: Region | None, anchor: Hit | None) -> Result:
    if anchor is not None and anchor.turn >= 0:
        return ([anchor] if _holds(finder.call, test, anchor) else []), State.KNOWN
    call, hits = finder.call, []
    for turn in finder.turns(region):
        unit = "turn" if test.name == "backchannel" else "clause"
        for lo, hi in call.pieces(turn, unit):
            if (region is None or inside(region, lo)) and lo < hi:
                hit = Hit(lo, hi, turn, test.name)
                if _holds(call, test, hit):
                    hits.append(hit)
    return hits, State.KNOWN


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


def _repeat(finder: Finder, test: Repeat, region: Region | None, _: Hit | None) -> Result:
    from rapidfuzz.fuzz import ratio

    call = finder.call
    said: list[tuple[int, str]] = []
    times: dict[int, int] = {}
    hits = []
    for turn in finder.turns(region):
        bare = "".join(character for character in call.text((call.starts[turn], call.ends[turn])) if character.isalnum())
        if len(bare) < test.min_chars:
            continue
        count = 1
        for earlier, text in said[-REPEAT_REACH:]:
            if call.turns[earlier].speaker == call.turns[turn].speaker and ratio(text, bare) >= test.similarity * 100:
                count = max(count, times[earlier] + 1)
        times[turn] = count
        said.append((turn, bare))
        if count >= test.times:
            hits.append(Hit(call.starts[turn], call.ends[turn], turn, "repeat", note=str(count)))
    return hits, State.KNOWN


# --- meaning -----------------------------------------------------------------------------------------------


class Minds:
    """Judges of meaning, as the evaluator hands them in. Without any, meaning is not evaluated."""

    def near(self, test: Meaning, texts: Sequence[str], call: Call) -> list[bool] | Reason:
        """For each text whether it lies near an exemplar; a reason where that cannot be said (yet)."""
        return Reason.NO_ENCODER

    def classify(self, test: Head, pieces: Sequence[Hit], finder: Finder) -> list[str] | Reason:
        """For each stretch "yes", "doubt" or "no"; a reason where that cannot be said (yet)."""
        return Reason.NO_HEAD

    def shares(self, condition: Condition, piece: Hit, finder: Finder) -> tuple[str, ...]:
        """What spoke for and against a classifier's verdict, the heaviest first."""
        return ()


def _candidates(finder: Finder, among: Condition, unit: str, region: Region | None, anchor: Hit | None) -> tuple[list[Hit], State]:
    """The clauses, sentences or turns that hold a hit of the cheap condition."""
    call = finder.call
    hits, state = finder.find(among, region, anchor)
    pieces: dict[tuple[int, int], Hit] = {}
    for hit in hits:
        if hit.turn >= 0:
            lo, hi = (call.starts[hit.turn], call.ends[hit.turn]) if unit == "turn" else call.around(hit, unit)
            pieces.setdefault((lo, hi), Hit(lo, hi, hit.turn, "meaning"))
    return list(pieces.values()), state


def _meaning(finder: Finder, test: Meaning, region: Region | None, anchor: Hit | None) -> Result:
    pieces, state = _candidates(finder, test.among, test.unit, region, anchor)
    if not pieces:
        return [], state
    near = finder.minds.near(test, [finder.call.text((piece.start, piece.end)) for piece in pieces], finder.call)
    if isinstance(near, Reason):
        return finder.unknown(near)
    return [piece for piece, yes in zip(pieces, near, strict=True) if yes], state


def _head(finder: Finder, test: Head, region: Region | None, anchor: Hit | None) -> Result:
    pieces, state = _candidates(finder, test.among, test.unit, region, anchor)
    if not pieces:
        return [], state
    verdicts = finder.minds.classify(test, pieces, finder)
    if isinstance(verdicts, Reason):
        return finder.unknown(verdicts)
    return [
        piece._replace(how="head", sure=verdict == "yes")
        for piece, verdict in zip(pieces, verdicts, strict=True)
        if verdict != "no"
    ], state


# --- what was measured -------------------------------------------------------------------------------------


def _emotion(finder: Finder, test: EmotionIs, region: Region | None, _: Hit | None) -> Result:
    call = finder.call
    scored = []
    for turn in finder.turns(region):
        emotion = call.turns[turn].emotion
        if emotion is not None:
            scored.append((emotion.score if emotion.label in test.labels else 0.0, turn))
    if not scored:
        return NOTHING if any(turn.emotion for turn in call.turns) else finder.unknown(Reason.NO_EMOTION)
    if test.below is not None:
        chosen = [(score, turn) for score, turn in scored if score < test.below]
    else:
        level = EMOTION_LEVEL if test.at_least is None else test.at_least
        chosen = [(score, turn) for score, turn in scored if score >= level and score > 0]
    if test.peak and chosen:
        chosen = [max(chosen, key=lambda pair: (pair[0], -pair[1]))]
    return [
        Hit(call.starts[turn], call.ends[turn], turn, "emotion", time=call.time_of(turn), note=f"{score:.2f}")
        for score, turn in chosen
    ], State.KNOWN


def _silence(finder: Finder, test: SilenceIs, region: Region | None, _: Hit | None) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for silence in acoustics.silences:
        length = silence.span.end - silence.span.start
        if length < test.at_least or (test.owed_by and silence.owed_by != test.owed_by):
            continue
        if test.music is not None and silence.music != test.music:
            continue
        around = (-1 if silence.before is None else silence.before, len(call.turns) if silence.after is None else silence.after)
        beside = [index for index in around if 0 <= index < len(call.turns)]
        if region is not None and not any(inside(region, call.starts[index]) for index in beside):
            continue
        at = call.ends[around[0]] if around[0] >= 0 else 0
        span = (silence.span.start, silence.span.end)
        hits.append(Hit(at, at, -1, "silence", time=span, turns=around, note=f"{length:.1f}"))
    return hits, State.KNOWN


def _interruption(finder: Finder, test: Interruption, region: Region | None, _: Hit | None) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for overlap in acoustics.overlaps:
        length = overlap.span.end - overlap.span.start
        turn = overlap.turn
        if not overlap.interruption or length < test.at_least or not call.is_of(turn, call.roles):
            continue
        lo, hi = call.starts[turn], call.ends[turn]
        if (region is not None and not inside(region, lo)) or call.grammar.is_backchannel(call.text((lo, hi))):
            continue
        span = (overlap.span.start, overlap.span.end)
        hits.append(Hit(lo, hi, turn, "interruption", not call.turns[turn].marks, span, (overlap.against, turn), note=f"{length:.1f}"))
    return hits, State.KNOWN


def _speech_rate(finder: Finder, test: SpeechRate, region: Region | None, _: Hit | None) -> Result:
    call = finder.call
    measured = []
    for turn in finder.turns(region):
        time = call.time_of(turn)
        count = call.units(turn)
        if time and time[1] > time[0] and count >= test.min_chars and not call.turns[turn].marks:
            measured.append((turn, count, time))
    if not measured:
        return NOTHING if any(call.time_of(turn) for turn in range(len(call.turns))) else finder.unknown(Reason.NO_TIMES)

    def out(count: float, seconds: float) -> float | None:
        rate = count / seconds * 60
        return rate if (test.over is not None and rate > test.over) or (test.under is not None and rate < test.under) else None

    hits = []
    if test.per == "turn":
        for turn, count, (start, end) in measured:
            if (rate := out(count, end - start)) is not None:
                hits.append(Hit(call.starts[turn], call.ends[turn], turn, "speech_rate", time=(start, end), note=f"{rate:.0f}"))
        return hits, State.KNOWN
    rate = out(sum(count for _, count, _ in measured), sum(end - start for _, _, (start, end) in measured))
    if rate is None:
        return NOTHING
    first, last = measured[0], measured[-1]
    return [Hit(0, 0, -1, "speech_rate", time=(first[2][0], last[2][1]), turns=(first[0], last[0]), note=f"{rate:.0f}")], State.KNOWN


def _reply_latency(finder: Finder, test: ReplyLatency, region: Region | None, _: Hit | None) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for latency in acoustics.latencies:
        turn = latency.turn
        if latency.seconds > test.over and call.is_of(turn, call.roles):
            lo, hi = call.starts[turn], call.ends[turn]
            if region is None or inside(region, lo):
                begin = call.turns[turn].start
                span = None if begin is None else (begin - latency.seconds, begin)
                hits.append(Hit(lo, hi, turn, "reply_latency", time=span, note=f"{latency.seconds:.1f}"))
    return hits, State.KNOWN


def _talk_share(finder: Finder, test: TalkShare, _: Region | None, __: Hit | None) -> Result:
    call = finder.call
    mine = total = 0.0
    for turn in range(len(call.turns)):
        time = call.time_of(turn)
        if time and call.role[turn] in ("agent", "customer"):
            total += time[1] - time[0]
            mine += time[1] - time[0] if call.is_of(turn, call.roles) else 0.0
    if not total:
        return finder.unknown(Reason.NO_TIMES)
    return _whole_call(finder, "talk_share", mine / total, test.over, test.under)


def _whole_call(finder: Finder, how: str, value: float, over: float | None, under: float | None) -> Result:
    """A hit on the whole call where a value lies outside; turns and seconds are the call's."""
    if not ((over is not None and value > over) or (under is not None and value < under)):
        return NOTHING
    call = finder.call
    end = call.end_time()
    turns = (0, len(call.turns) - 1) if call.turns else ()
    return [Hit(0, 0, -1, how, time=None if end is None else (0.0, end), turns=turns, note=f"{value:.2f}")], State.KNOWN


def _loudness(finder: Finder, test: Loudness, region: Region | None, _: Hit | None) -> Result:
    call = finder.call
    levels: dict[str, list[tuple[float, int]]] = {}
    for index, turn in enumerate(call.turns):
        if turn.voice is not None:
            levels.setdefault(turn.speaker, []).append((turn.voice.loudness_db, index))
    if not levels:
        return finder.unknown(Reason.NO_LOUDNESS)
    wanted = set(finder.turns(region))
    hits = []
    for measured in levels.values():
        middle = median(level for level, _ in measured)
        for level, turn in measured:
            if turn in wanted and level - middle > test.over:
                note = f"+{level - middle:.0f} dB"
                hits.append(Hit(call.starts[turn], call.ends[turn], turn, "loudness", time=call.time_of(turn), note=note))
    return hits, State.KNOWN


def _duration(finder: Finder, test: Duration, _: Region | None, __: Hit | None) -> Result:
    end = finder.call.end_time()
    if end is None:
        return finder.unknown(Reason.NO_DURATION)
    return _whole_call(finder, "duration", end, test.over, test.under)


def _turn_count(finder: Finder, test: TurnCount, _: Region | None, __: Hit | None) -> Result:
    return _whole_call(finder, "turn_count", len(finder.call.runs(finder.call.roles)), test.over, test.under)


def _length(finder: Finder, test: Length, region: Region | None, _: Hit | None) -> Result:
    call, hits = finder.call, []
    for lo, hi in finder.spoken(region):
        turn = call.turn_of(lo)
        whole = lo == call.starts[turn] and hi == call.ends[turn]
        if (call.units(turn) if whole else call.grammar.units(call.text((lo, hi)))) >= test.at_least:
            hits.append(Hit(lo, hi, turn, "length"))
    return hits, State.KNOWN


# --- what is known of the call -----------------------------------------------------------------------------

_ATTRIBUTE = Hit(0, 0, -1, "attribute")


def _attribute(finder: Finder, test: Attribute, _: Region | None, __: Hit | None) -> Result:
    known = finder.call.conversation.attributes
    for name, values in test.values.items():
        if not any(_same(known.get(name), value) for value in values):
            return NOTHING
    for limits, sign in ((test.over, 1), (test.under, -1)):
        for name, limit in limits.items():
            value = _number(known.get(name))
            if value is None or value * sign <= limit * sign:
                return NOTHING
    return [_ATTRIBUTE], State.KNOWN


def _same(known: Any, wanted: Any) -> bool:
    """Metadata comes from tables: yes and no are written in many ways."""
    if isinstance(wanted, bool):
        word = str(known).strip().lower()
        return word in (("true", "1", "yes", "y", "是") if wanted else ("false", "0", "no", "n", "否"))
    if isinstance(wanted, int | float):
        return _number(known) == wanted
    if isinstance(known, list | tuple | set | frozenset):
        return any(_same(item, wanted) for item in known)
    return known is not None and str(known).strip().lower() == str(wanted).strip().lower()


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _slot(finder: Finder, test: Slot, _: Region | None, __: Hit | None) -> Result:
    filled = finder.plan.pack.slots.get(test.name) or finder.call.conversation.attributes.get(test.name)
    return ([_ATTRIBUTE], State.KNOWN) if filled else NOTHING


# --- logic -------------------------------------------------------------------------------------------------


def _any(finder: Finder, test: AnyOf, region: Region | None, anchor: Hit | None) -> Result:
    hits: list[Hit] = []
    states = []
    for item in test.items:
        found, state = finder.find(item, region, anchor)
        hits = hits + found if found and hits else found or hits
        states.append(state)
    return hits, _together(states)


def _first_any(finder: Finder, test: AnyOf, region: Region | None, anchor: Hit | None) -> tuple[Hit | None, State]:
    doubtful, states = None, []
    for item in test.items:
        hit, state = finder.first(item, region, anchor)
        states.append(state)
        if hit is not None:
            if hit.sure:
                return hit, _together(states)
            doubtful = doubtful or hit
    return doubtful, _together(states)


def _together(states: Sequence[State]) -> State:
    """Of alternatives: unknown where all are, partial where one is."""
    return State.UNKNOWN if min(states) is State.UNKNOWN else State.PARTIAL if max(states) else State.KNOWN


def _all(finder: Finder, test: All, region: Region | None, anchor: Hit | None) -> Result:
    first, others = test.items[0], test.items[1:]
    if isinstance(first.test, Not | Attribute | Slot) and first.where is EVERYWHERE:
        return _all_about(finder, test, region, anchor)
    hits, state = finder.find(first, region, anchor)
    if not hits:
        return [], state
    kept: list[Hit] = []
    worst = state
    for hit in hits:
        holds, sure, judged = _others_hold(finder, test, others, hit, region)
        worst = max(worst, judged)
        if holds:
            kept.append(hit if sure == hit.sure else hit._replace(sure=sure))
    return kept, worst if kept or worst is State.KNOWN else State.UNKNOWN


def _first_all(finder: Finder, test: All, region: Region | None, anchor: Hit | None) -> tuple[Hit | None, State]:
    first, others = test.items[0], test.items[1:]
    if isinstance(first.test, Not | Attribute | Slot) and first.where is EVERYWHERE:
        hits, state = _all_about(finder, test, region, anchor)
        return (hits[0] if hits else None), state
    for other in others:
        if id(other) in finder.plan.gated and id(other) not in finder.open:
            return None, State.KNOWN
    hits, state = finder.find(first, region, anchor)
    doubtful, worst = None, state
    for hit in hits:
        holds, sure, judged = _others_hold(finder, test, others, hit, region)
        worst = max(worst, judged)
        if holds and sure:
            return hit, worst
        if holds:
            doubtful = doubtful or hit._replace(sure=False)
    return doubtful, worst if doubtful or worst is State.KNOWN or not hits else State.UNKNOWN


def _others_hold(
    finder: Finder, test: All, others: Sequence[Condition], hit: Hit, region: Region | None
) -> tuple[bool, bool, State]:
    """Whether the other items of `all` hold in the unit of a hit, and surely."""
    call = finder.call
    area = places.unit(call, hit, test.same)
    if area is None and test.same != "call":
        area = region
    sure, worst, roles = hit.sure, State.KNOWN, call.roles
    for item in others:
        if area is None:
            call.roles = _ANYONE
        found, surely, judged = finder.holds(item, area, hit)
        call.roles = roles
        worst = max(worst, judged)
        if not found:
            return False, False, worst
        sure = sure and surely
    return True, sure, worst


def _all_about(finder: Finder, test: All, region: Region | None, anchor: Hit | None) -> Result:
    """Where no item finds a place: all must hold of the region, or of the hit at hand."""
    worst = State.KNOWN
    last: list[Hit] = []
    for item in test.items:
        last, state = finder.find(item, region, anchor)
        if not last:
            return [], state
        worst = max(worst, state)
    return last[:1], worst


def _not(finder: Finder, test: Not, region: Region | None, anchor: Hit | None) -> Result:
    found, _, state = finder.holds(test.item, region, anchor)
    if found:
        return NOTHING
    if state is not State.KNOWN:
        return [], State.UNKNOWN
    return [anchor or _ATTRIBUTE], State.KNOWN


def _at_least(finder: Finder, test: AtLeast, region: Region | None, anchor: Hit | None) -> Result:
    groups: dict[object, list[tuple[int, Hit]]] = {}
    worst = State.KNOWN
    for number, item in enumerate(test.items):
        found, state = finder.find(item, region, anchor)
        worst = max(worst, state)
        for hit in found:
            area = places.unit(finder.call, hit, test.same)
            key = None if area is None else area[0]
            groups.setdefault(key, []).append((number, hit))
    hits = []
    for members in groups.values():
        members.sort(key=lambda pair: _order(pair[1]))
        distinct = dict(reversed(members)) if len(test.items) > 1 else dict(enumerate(_apart(members)))
        if len(distinct) >= test.count:
            chosen = sorted(distinct.values(), key=_order)
            hits.append(chosen[0]._replace(parts=tuple(chosen[1:]), sure=all(hit.sure for hit in chosen)))
    return hits, State.KNOWN if hits else worst


def _apart(members: Sequence[tuple[int, Hit]]) -> list[Hit]:
    """Hits that do not overlap, so that one event is not counted twice."""
    kept: list[Hit] = []
    for _, hit in members:
        if not kept or hit.start >= kept[-1].end or hit.turn < 0:
            kept.append(hit)
    return kept


def _sequence(finder: Finder, test: InOrder, region: Region | None, anchor: Hit | None) -> Result:
    found: list[list[Hit]] = []
    worst = State.KNOWN
    for item in test.items:
        hits, state = finder.find(item, region, anchor)
        worst = max(worst, state)
        if not hits:
            return [], state
        found.append(sorted(hits, key=_order))
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
        runs = call.runs(_ANYONE)
        first, last = (runs.index(call.run_of(hit.turn)) for hit in (one, other))
        return last - first <= gap.count
    early, late = call.time_at(one), call.time_at(other)
    return early is not None and late is not None and late[0] - early[1] <= gap.count


def _surest(hits: Sequence[Hit]) -> Hit:
    return next((hit for hit in hits if hit.sure), hits[0])


_FIND: dict[type, Callable[[Finder, Any, Region | None, Hit | None], Result]] = {
    Phrase: _phrase,
    Regex: _regex,
    Entity: _entity,
    Language: _language,
    Repeat: _repeat,
    Meaning: _meaning,
    Head: _head,
    EmotionIs: _emotion,
    SilenceIs: _silence,
    Interruption: _interruption,
    SpeechRate: _speech_rate,
    ReplyLatency: _reply_latency,
    TalkShare: _talk_share,
    Loudness: _loudness,
    Duration: _duration,
    TurnCount: _turn_count,
    Length: _length,
    Attribute: _attribute,
    Slot: _slot,
    AnyOf: _any,
    All: _all,
    Not: _not,
    AtLeast: _at_least,
    InOrder: _sequence,
}
_FINDERS = frozenset(_FIND.values())
# Conditions that can stop at the first hit; the others find all and give one.
_FIRST: dict[type, Callable[[Finder, Any, Region | None, Hit | None], tuple[Hit | None, State]]] = {
    Phrase: _first_phrase,
    Regex: _first_regex,
    AnyOf: _first_any,
    All: _first_all,
}
