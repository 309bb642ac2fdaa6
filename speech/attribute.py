"""Who said which word: words × diarized turns in mono, words × channels in stereo, and turns out of both."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from rapidfuzz import fuzz

from speech.types import Mark, Span, Turn, Word

SENTENCE_END = "。？！?!…"
CLAUSE_END = "，、；：,;:"

# Seconds of mis-attributed talk that a change of speaker between two words must save to be worth making there.
# Mandarin turns end with their sentences; a recogniser's word times are off by up to half a second at the edges.
CHANGE_AT_SENTENCE_END = 0.05
CHANGE_AT_PAUSE = 0.15
CHANGE_AT_CLAUSE_END = 0.3
CHANGE_WITHIN_CLAUSE = 0.7
PAUSE = 0.3  # s between two words

TURN_PAUSE = 0.8  # s of a speaker's own pause that ends a turn after a finished sentence
SENTENCE_PAUSE = 1.5  # s that ends it in mid-sentence
YIELD_PAUSE = 0.3  # s that ends it when the other side speaks in that pause

BLEED_FAINTER_DB = 6.0  # how much fainter than the same words on the other channel
BLEED_FAINTER_SHORT_DB = 12.0  # the same for one or two characters, which both sides may say at once
BLEED_ALIKE = 70.0  # per cent of characters in order (rapidfuzz partial_ratio)
OWN_TURNS = 3  # turns that tell a channel's usual level
BLEED_WINDOW = 0.6  # s around the turn in which the other channel's words are looked up


def attribute(words: Sequence[Word], turns: Sequence[tuple[Span, str]]) -> tuple[Turn, ...]:
    """Give each word of a mono recording to the speaker of an exclusive turn, and group words into turns.

    `turns` are exclusive (no two overlap), in order. The assignment with the least mis-attributed seconds wins,
    where a change of speaker costs little at a sentence's end, more in a pause or at a comma, most within a clause:
    so words at the edge of a turn, whose times are the least certain, stay with their sentence.
    A turn's text is the concatenation of its words. With no diarized turn everything is one speaker's.
    """
    words = [word for word in words if word.text.strip()]
    if not words:
        return ()
    speakers = sorted({speaker for _, speaker in turns}) or ["SPEAKER_00"]
    chosen = _cheapest_speakers(words, turns, speakers)
    runs: list[tuple[str, list[Word]]] = []
    for position, (word, speaker) in enumerate(zip(words, chosen, strict=True)):
        same = runs and runs[-1][0] == speaker
        if same and not _ends_turn(words[position - 1], word):
            runs[-1][1].append(word)
        else:
            runs.append((speaker, [word]))
    return tuple(make_turn(speaker, run) for speaker, run in runs)


def _cheapest_speakers(words: Sequence[Word], turns: Sequence[tuple[Span, str]], speakers: list[str]) -> list[str]:
    """Viterbi over words: cost of a word is the seconds of it in which its speaker is not the diarized one."""
    cost = [0.0] * len(speakers)
    back: list[list[int]] = []
    first = 0  # diarized turns before it ended too long ago to matter
    for position, word in enumerate(words):
        while first < len(turns) and turns[first][0].end < word.start - 5.0:
            first += 1
        own = [_misplaced(word, turns, first, speaker) for speaker in speakers]
        if not position:
            cost = own
            continue
        change = _change_cost(words[position - 1], word)
        best = min(range(len(speakers)), key=cost.__getitem__)
        came: list[int] = []
        total: list[float] = []
        for index in range(len(speakers)):
            stay = cost[index] <= cost[best] + change
            came.append(index if stay else best)
            total.append(own[index] + (cost[index] if stay else cost[best] + change))
        cost = total
        back.append(came)
    state = min(range(len(speakers)), key=cost.__getitem__)
    path = [state]
    for came in reversed(back):
        state = came[state]
        path.append(state)
    return [speakers[index] for index in reversed(path)]


def _misplaced(word: Word, turns: Sequence[tuple[Span, str]], first: int, speaker: str) -> float:
    duration = max(word.end - word.start, 0.05)
    covered, nearest_own, nearest_other = 0.0, 2.0, 2.0
    for span, name in turns[first:]:
        if span.start > word.end + 5.0:
            break
        shared = max(0.0, min(span.end, word.start + duration) - max(span.start, word.start))
        distance = max(0.0, span.start - word.end, word.start - span.end)
        if name == speaker:
            covered += shared
            nearest_own = min(nearest_own, distance)
        else:
            nearest_other = min(nearest_other, distance)
    if covered == 0.0 and nearest_other > 0.0:  # in nobody's turn: the nearer speaker is the likelier, not more
        return duration * min(1.0, nearest_own) if nearest_own > nearest_other else 0.0
    return max(0.0, duration - covered)


def _change_cost(left: Word, right: Word) -> float:
    text = left.text.rstrip()
    if text and text[-1] in SENTENCE_END:
        return CHANGE_AT_SENTENCE_END
    if right.start - left.end >= PAUSE:
        return CHANGE_AT_PAUSE
    if text and text[-1] in CLAUSE_END:
        return CHANGE_AT_CLAUSE_END
    return CHANGE_WITHIN_CLAUSE


def _ends_turn(left: Word, right: Word) -> bool:
    pause = right.start - left.end
    finished = left.text.rstrip()[-1:] in SENTENCE_END
    return pause >= (TURN_PAUSE if finished else SENTENCE_PAUSE)


def channel_turns(
    words: Mapping[str, Sequence[Word]], loudness: Callable[[str, Span], float] | None = None
) -> tuple[Turn, ...]:
    """Turns of a recording with one speaker a channel, in order of their start.

    A turn ends at its speaker's own long pause, or at a short one in which the other side speaks. A nod of the
    other side within a running sentence ends nothing. `loudness` tells the level (dB) of a channel in a span: with it,
    the other side's words heard faintly at the same time are marked as bleed (never dropped).
    """
    turns = [make_turn(speaker, run) for speaker, own in words.items() for run in _runs(speaker, own, words)]
    turns.sort(key=lambda turn: (turn.start, turn.end))
    if loudness is None:
        return tuple(turns)
    levels = [loudness(turn.speaker, turn.span) if turn.span else 0.0 for turn in turns]
    usual: dict[str, float] = {}
    for speaker in words:
        own = [level for turn, level in zip(turns, levels, strict=True) if turn.speaker == speaker]
        if len(own) >= OWN_TURNS:
            usual[speaker] = median(own)
    return tuple(
        replace(turn, marks=(*turn.marks, Mark.BLEED))
        if _is_bleed(turn, level, usual.get(turn.speaker), words, loudness)
        else turn
        for turn, level in zip(turns, levels, strict=True)
    )


def _runs(speaker: str, own: Sequence[Word], words: Mapping[str, Sequence[Word]]) -> list[list[Word]]:
    others = sorted((word.start, word.end) for name, theirs in words.items() if name != speaker for word in theirs)
    runs: list[list[Word]] = []
    first = 0  # others' words before it ended before this pause
    for word in (word for word in own if word.text.strip()):
        if not runs:
            runs.append([word])
            continue
        left = runs[-1][-1]
        ends = _ends_turn(left, word)
        if not ends and word.start - left.end >= YIELD_PAUSE:
            while first < len(others) and others[first][1] <= left.end:
                first += 1
            last = bisect_left(others, (word.start,), lo=first)
            spoken = sum(max(0.0, min(end, word.start) - max(start, left.end)) for start, end in others[first:last])
            ends = spoken >= YIELD_PAUSE / 2
        if ends:
            runs.append([word])
        else:
            runs[-1].append(word)
    return runs


def _is_bleed(
    turn: Turn,
    level: float,
    usual: float | None,
    words: Mapping[str, Sequence[Word]],
    loudness: Callable[[str, Span], float],
) -> bool:
    """Whether the other channel says the same at the same time, and louder. `usual`: this channel's median level."""
    span = turn.span
    said = _bare(turn.text)
    if span is None or not said:
        return False
    short = len(said) <= 2
    if short and usual is not None and level > usual - BLEED_FAINTER_DB:
        return False  # as loud as this side always is: both said it
    for name, theirs in words.items():
        if name == turn.speaker:
            continue
        first = bisect_left(theirs, span.start - BLEED_WINDOW, key=lambda word: word.end)
        last = bisect_left(theirs, span.end + BLEED_WINDOW, key=lambda word: word.start)
        near = theirs[first:last]
        there = _bare("".join(word.text for word in near))
        shared = sum(max(0.0, min(w.end, span.end) - max(w.start, span.start)) for w in near)
        if not there or shared < 0.5 * span.duration:
            continue
        alike = fuzz.partial_ratio(said, there) if len(said) <= len(there) else fuzz.ratio(said, there)
        fainter = loudness(name, span) - level
        if alike >= BLEED_ALIKE and fainter >= (BLEED_FAINTER_SHORT_DB if short else BLEED_FAINTER_DB):
            return True
    return False


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()


def make_turn(speaker: str, words: Sequence[Word]) -> Turn:
    """A turn whose text is exactly the concatenation of its words; a leading space goes from both."""
    words = (replace(words[0], text=words[0].text.lstrip()), *words[1:])
    words = (*words[:-1], replace(words[-1], text=words[-1].text.rstrip()))
    return Turn(
        speaker=speaker,
        text="".join(word.text for word in words),
        start=words[0].start,
        end=max(word.end for word in words),
        words=words,
    )


def split_turn(turn: Turn, character: int) -> tuple[Turn, Turn]:
    """Cut a turn before a character of its text, its words and times along with it.

    Where the text is the concatenation of the words, a word across the cut is cut too; where it is not (edited
    text), words part in proportion. Without words the time is shared by characters.
    Raises ValueError where one side would be empty.
    """
    left, right = turn.text[:character], turn.text[character:]
    if not left.strip() or not right.strip():
        raise ValueError(f"cannot cut a turn of {len(turn.text)} characters at {character}")
    right = right.lstrip()
    if not turn.words:
        cut = None if turn.span is None else turn.span.start + turn.span.duration * character / len(turn.text)
        return replace(turn, text=left.rstrip(), end=cut), replace(turn, text=right, start=cut)
    exact = turn.text == "".join(word.text for word in turn.words)
    goal = character if exact else round(character * sum(len(w.text) for w in turn.words) / len(turn.text))
    head: list[Word] = []
    tail: list[Word] = []
    reached = 0
    for word in turn.words:
        inside = goal - reached
        reached += len(word.text)
        if inside >= len(word.text):
            head.append(word)
        elif inside <= 0:
            tail.append(word)
        else:
            middle = word.start + (word.end - word.start) * inside / len(word.text)
            head.append(replace(word, text=word.text[:inside], end=middle))
            tail.append(replace(word, text=word.text[inside:], start=middle))
    if exact:
        return _rebuilt(turn, head), _rebuilt(turn, tail)
    return (
        replace(turn, text=left.rstrip(), words=tuple(head), end=max((w.end for w in head), default=turn.start)),
        replace(turn, text=right, words=tuple(tail), start=tail[0].start if tail else turn.end),
    )


def _rebuilt(turn: Turn, words: Sequence[Word]) -> Turn:
    part = make_turn(turn.speaker, words)
    return replace(turn, text=part.text, start=part.start, end=part.end, words=part.words)
