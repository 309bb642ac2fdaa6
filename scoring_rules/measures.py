"""What was measured, and what is known of the call: emotion, silence, pace, repetition, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from statistics import median
from typing import Any

from scoring_rules.call import Hit, inside
from scoring_rules.finder import KNOWN, NOTHING, Finder, Hits, Result, Scope
from scoring_rules.model import (
    Attribute,
    Duration,
    EmotionIs,
    Interruption,
    Length,
    Loudness,
    Reason,
    Repeat,
    ReplyLatency,
    SilenceIs,
    Slot,
    SpeechRate,
    TalkShare,
    TurnCount,
)

EMOTION_LEVEL = 0.5  # a label is taken for the turn's emotion from even odds on
REPEAT_REACH = 12  # turns of the same speaker that a repetition may lie back: keeps the cost linear
_emotion = attrgetter("emotion")
WHOLE_CALL = Hit(0, 0, -1, "attribute")


def emotion(finder: Finder, test: EmotionIs, scope: Scope) -> Result:
    call = finder.call
    if not any(map(_emotion, call.turns)):
        return finder.unknown(Reason.NO_EMOTION)
    scored = []
    for turn in finder.turns(scope):
        emotion = call.turns[turn].emotion
        if emotion is not None:
            scored.append((emotion.score if emotion.label in test.labels else 0.0, turn))
    if not scored:
        return NOTHING
    if test.below is not None:
        chosen = [(score, turn) for score, turn in scored if score < test.below]
    else:
        level = EMOTION_LEVEL if test.at_least is None else test.at_least
        chosen = [(score, turn) for score, turn in scored if score >= level and score > 0]
    if test.peak and chosen:
        chosen = [max(chosen, key=lambda pair: (pair[0], -pair[1]))]
    return [
        Hit(call.starts[turn], call.ends[turn], turn, "emotion", time=call.times[turn], note=f"{score:.2f}")
        for score, turn in chosen
    ], KNOWN


def silence(finder: Finder, test: SilenceIs, scope: Scope) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for silence in acoustics.silences:
        length = silence.span.end - silence.span.start
        if length < test.at_least or (test.owed_by and (silence.owed_by or "nobody") != test.owed_by):
            continue
        if test.music is not None and silence.music != test.music:
            continue
        around = (-1 if silence.before is None else silence.before, len(call.turns) if silence.after is None else silence.after)
        beside = [index for index in around if 0 <= index < len(call.turns)]
        if scope.region is not None and not any(inside(scope.region, call.starts[index]) for index in beside):
            continue
        at = call.ends[around[0]] if around[0] >= 0 else 0
        span = (silence.span.start, silence.span.end)
        hits.append(Hit(at, at, -1, "silence", time=span, turns=around, note=f"{length:.1f}"))
    return hits, KNOWN


def interruption(finder: Finder, test: Interruption, scope: Scope) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for overlap in acoustics.overlaps:
        length = overlap.span.end - overlap.span.start
        turn = overlap.turn
        if not overlap.interruption or length < test.at_least or not call.is_of(turn, scope.roles):
            continue
        lo, hi = call.starts[turn], call.ends[turn]
        if (scope.region is not None and not inside(scope.region, lo)) or call.grammar.is_backchannel(call.text((lo, hi))):
            continue
        span = (overlap.span.start, overlap.span.end)
        hits.append(Hit(lo, hi, turn, "interruption", not call.turns[turn].marks, span, (overlap.against, turn), note=f"{length:.1f}"))
    return hits, KNOWN


def speech_rate(finder: Finder, test: SpeechRate, scope: Scope) -> Result:
    call = finder.call
    key = (speech_rate, scope.region, scope.roles, test.min_chars)
    measured = call.memory.get(key)
    if measured is None:
        measured = call.memory[key] = _spoken_times(finder, test.min_chars, scope)
    assert isinstance(measured, list)
    if not measured:
        return NOTHING if any(call.times) else finder.unknown(Reason.NO_TIMES)

    def out(count: float, seconds: float) -> float | None:
        rate = count / seconds * 60
        return rate if (test.over is not None and rate > test.over) or (test.under is not None and rate < test.under) else None

    hits = []
    if test.per == "turn":
        for turn, count, (start, end) in measured:
            if (rate := out(count, end - start)) is not None:
                hits.append(Hit(call.starts[turn], call.ends[turn], turn, "speech_rate", time=(start, end), note=f"{rate:.0f}"))
        return hits, KNOWN
    rate = out(sum(count for _, count, _ in measured), sum(end - start for _, _, (start, end) in measured))
    if rate is None:
        return NOTHING
    first, last = measured[0], measured[-1]
    return [Hit(0, 0, -1, "speech_rate", time=(first[2][0], last[2][1]), turns=(first[0], last[0]), note=f"{rate:.0f}")], KNOWN


def _spoken_times(finder: Finder, min_chars: int, scope: Scope) -> list[tuple[int, int, tuple[float, float]]]:
    """(turn, characters, seconds) of the turns that tell of pace."""
    call = finder.call
    found = []
    for turn in finder.turns(scope):
        time = call.times[turn]
        if time is None or time[1] <= time[0] or call.turns[turn].marks:
            continue
        count = call.units(turn)
        if count >= min_chars:
            found.append((turn, count, time))
    return found


def reply_latency(finder: Finder, test: ReplyLatency, scope: Scope) -> Result:
    call, acoustics = finder.call, finder.call.conversation.acoustics
    if acoustics is None:
        return finder.unknown(Reason.NO_TIMES)
    hits = []
    for latency in acoustics.latencies:
        turn = latency.turn
        if latency.seconds > test.over and call.is_of(turn, scope.roles):
            lo, hi = call.starts[turn], call.ends[turn]
            if scope.region is None or inside(scope.region, lo):
                begin = call.turns[turn].start
                span = None if begin is None else (begin - latency.seconds, begin)
                hits.append(Hit(lo, hi, turn, "reply_latency", time=span, note=f"{latency.seconds:.1f}"))
    return hits, KNOWN


def talk_share(finder: Finder, test: TalkShare, scope: Scope) -> Result:
    call = finder.call
    mine = total = 0.0
    for turn in range(len(call.turns)):
        time = call.times[turn]
        if time and call.role[turn] in ("agent", "customer"):
            total += time[1] - time[0]
            mine += time[1] - time[0] if call.is_of(turn, scope.roles) else 0.0
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
    return [Hit(0, 0, -1, how, time=None if end is None else (0.0, end), turns=turns, note=f"{value:.2f}")], KNOWN


def loudness(finder: Finder, test: Loudness, scope: Scope) -> Result:
    call = finder.call
    levels: dict[str, list[tuple[float, int]]] = {}
    for index, turn in enumerate(call.turns):
        if turn.voice is not None:
            levels.setdefault(turn.speaker, []).append((turn.voice.loudness_db, index))
    if not levels:
        return finder.unknown(Reason.NO_LOUDNESS)
    wanted = set(finder.turns(scope))
    hits = []
    for measured in levels.values():
        middle = median(level for level, _ in measured)
        for level, turn in measured:
            if turn in wanted and level - middle > test.over:
                note = f"+{level - middle:.0f} dB"
                hits.append(Hit(call.starts[turn], call.ends[turn], turn, "loudness", time=call.times[turn], note=note))
    return hits, KNOWN


def duration(finder: Finder, test: Duration, scope: Scope) -> Result:
    end = finder.call.end_time()
    if end is None:
        return finder.unknown(Reason.NO_DURATION)
    return _whole_call(finder, "duration", end, test.over, test.under)


def turn_count(finder: Finder, test: TurnCount, scope: Scope) -> Result:
    return _whole_call(finder, "turn_count", len(finder.call.runs(scope.roles)), test.over, test.under)


def length(finder: Finder, test: Length, scope: Scope) -> Hits:
    call = finder.call
    for lo, hi in finder.spoken(scope):
        turn = call.turn_of(lo)
        whole = lo == call.starts[turn] and hi == call.ends[turn]
        if (call.units(turn) if whole else call.grammar.units(call.text((lo, hi)))) >= test.at_least:
            yield Hit(lo, hi, turn, "length")
    return KNOWN


# --- what is known of the call -----------------------------------------------------------------------------

def attribute(finder: Finder, test: Attribute, scope: Scope) -> Result:
    memory = finder.call.memory
    key = id(test)
    if key not in memory:
        memory[key] = ([WHOLE_CALL], KNOWN) if _is_so(test, finder.call.conversation.attributes) else NOTHING
    return memory[key]  # type: ignore[return-value]


def _is_so(test: Attribute, known: Mapping[str, Any]) -> bool:
    for name, values in test.values.items():
        own = known.get(name)
        if own is None or not any(_same(own, value) for value in values):
            return False
    for limits, sign in ((test.over, 1), (test.under, -1)):
        for name, limit in limits.items():
            value = _number(known.get(name))
            if value is None or value * sign <= limit * sign:
                return False
    return True


def _same(known: Any, wanted: Any) -> bool:
    """Metadata comes from tables: yes and no are written in many ways."""
    if known is None:
        return False
    if known.__class__ is str and wanted.__class__ is str:
        return known == wanted or known.strip().lower() == wanted.strip().lower()
    if isinstance(wanted, bool):
        word = str(known).strip().lower()
        return word in (("true", "1", "yes", "y", "是") if wanted else ("false", "0", "no", "n", "否"))
    if isinstance(wanted, int | float):
        return _number(known) == wanted
    if isinstance(known, list | tuple | set | frozenset):
        return any(_same(item, wanted) for item in known)
    return str(known).strip().lower() == str(wanted).strip().lower()


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def slot(finder: Finder, test: Slot, scope: Scope) -> Result:
    filled = finder.plan.pack.slots.get(test.name) or finder.call.conversation.attributes.get(test.name)
    return ([WHOLE_CALL], KNOWN) if filled else NOTHING




def repeat(finder: Finder, test: Repeat, scope: Scope) -> Result:
    from rapidfuzz.fuzz import ratio

    call = finder.call
    said: list[tuple[int, str]] = []
    times: dict[int, int] = {}
    hits = []
    for turn in finder.turns(scope):
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
    return hits, KNOWN


