"""What can be measured on a call: silence, overlap, interruption, reply latency, speech rate, talk time, voice.

Definitions: silence is both sides quiet; an interruption is an overlap of a second or more that begins a second
or more into the other's turn, back-channels left out; the speech rate is characters ÷ summed speaking time, turns
under five characters left out. An IVR announcement is sound, but nobody's turn: it is never silence, never a
reply, never an overlap, and has no talk time. Hold music is not silence either, and is kept with `music=True`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from speech.types import Acoustics, Latency, Mark, Overlap, Role, Silence, Span, Turn, Voice

if TYPE_CHECKING:
    import numpy as np

SILENCE_NOTED = 3.0  # s: shorter pauses belong to any talk
INTERRUPTION_LENGTH = 1.0  # s of overlap
INTERRUPTION_DEPTH = 1.0  # s into the other's turn
OVERLAP_NOTED = 0.12  # s: below it overlaps go unheard (Heldner, Interspeech 2011: detection threshold 120 ms)
RATE_MIN_CHARACTERS = 5
WORD_GAP = 0.3  # s between two words that still counts as speaking time
NEARBY_TURNS = 20  # turns before and after a silence among which its neighbours are looked for
EDGE = 0.4  # s by which a recogniser's word times and a voice activity detector's regions may differ

_BACK_CHANNEL = re.compile(
    r"(?:嗯+|恩+|唔|哦+|噢+|喔|啊+|呃+|额|诶|欸|哎|哈+|对+(?:的|啊|呀)?|是+(?:的|啊|呀|吧)?|好+(?:的|啊|吧|嘞|呀|滴)?|行+(?:啊|吧)?"
    r"|没错|明白了?|了解了?|清楚了?|知道了?|懂了|可以|当然|这样(?:啊|子)?|原来如此|对不对"
    r"|m+|mm-?hmm|uh-?huh|uh|um|hmm+|yeah|yes|yep|yup|ok|okay|right|sure|alright|i see|got it|i understand|of course)+"
)
_ACKNOWLEDGEMENT = re.compile(
    rf"(?:{_BACK_CHANNEL.pattern}|谢谢|谢了|多谢|麻烦(?:你|您)?了?|那?没事|没关系|不客气|我|那|您?(?:先|慢慢|你)?(?:查|看|忙)(?:吧|一下)?"
    r"|(?:我)?(?:等着|等一?下?|可以等)|不着急|不急|thanks?|thank you|no problem|take your time|great|perfect)+"
)
_FAREWELL = re.compile(r"再见|拜拜|祝您|生活愉快|挂了|\b(?:bye|goodbye|have a (?:nice|good|great))\b", re.I)
_AGENT_HOLDS = re.compile(
    r"稍等|稍候|稍微等|请您?稍后|等一下|等一等|等一会|等我|请等|别挂|别放下?电话|不要挂|不挂机|保持(?:在线|通话)|(?:我|这边|帮您|给您|为您|替您|来)[^，。？！]{0,8}(?:查|看|核实|核对|确认|问|登记|记录|操作|处理|转接|查询|办理|提交|算|调|联系|催|翻|找)(?:一下|下|一查|看|核|询|理|接|查|问|翻|找)"
    r"|正在(?:为您|帮您|给您)?(?:查|核|处理|加载|转接|登记|操作|提交)|系统(?:有点|有些|比较|稍微)?(?:慢|卡)"
    r"|\b(?:one moment|just a (?:moment|second|sec|minute)|hold on|please hold|bear with me|let me (?:check|see|look|pull)|"
    r"(?:give|allow) me (?:a|one|just)|one (?:sec|second|minute)|put you on (?:a )?(?:brief )?hold)\b",
    re.I,
)
# At the end of a customer's turn only: 我看一下 asks for time, 我看了一下, 我想查一下订单 do not.
_CUSTOMER_HOLDS = re.compile(
    r"(?:(?<![帮给替])我(?:先|去|来|再|这就|现在)*(?:找|看|翻|查|拿|想|记|试|开|设|弄|输|填|改|点|扫|量|数|问)(?:一下|找|看|翻|查|想|试|设|弄|输|填|点|量|数|问)|稍等|等一?下|等会|等我|别挂"
    r"|\b(?:hold on|one (?:sec|second|moment|minute)|just a (?:sec|second|moment|minute)|let me (?:check|find|look|see|get|grab)))"
    r"\W*\w{0,6}\W*$",
    re.I,
)
_QUESTION = re.compile(
    r"[?？]|[吗么嘛呢]$|什么|多少|几[个点号天位月岁]|哪[个里儿位些种]|怎么|如何|是不是|有没有|能不能|可不可以|要不要|对不对|好不好|为什么|请问|谁"
    r"|\b(?:what|when|where|which|who|how|why|can you|could you|would you|do you|did you|is it|are you|may i|have you)\b",
    re.I,
)
_REQUEST = re.compile(
    r"(?:请|麻烦|劳驾)?您(?:先|再|把|说|讲|报|提供|告诉|输入|打开|点|重启|试|按|看|念|稍微)|请(?:讲|说|报|提供|输入|打开|出示)|麻烦(?:您|你|提供|报|说)"
    r"|\bplease (?:tell|give|provide|enter|open|try|confirm|verify|spell)\b|\bgo ahead\b",
    re.I,
)
_TAG_QUESTION = re.compile(r"^(?:您?看?(?:好|可以|行|成|方便)(?:吗|吧|不好|不行)?|好不好|行不行|可以吧|okay|ok|alright)$", re.I)
_PUNCTUATION = re.compile(r"[\s，。？！、；：,.?!;:…—~～·“”\"'‘’（）()《》\-]+")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’][A-Za-z]+)?")
_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff〇\U00020000-\U0003ffff]")


# -- what is said -------------------------------------------------------------------------------------------------


def is_back_channel(text: str) -> bool:
    """Whether a text only says "I am listening" (嗯, 对, 好的, mm-hmm …): no claim to the floor."""
    bare = _PUNCTUATION.sub("", text.lower())
    spaced = _PUNCTUATION.sub(" ", text.lower()).strip()
    return bool(bare) and (_BACK_CHANNEL.fullmatch(bare) or _spaced_match(_BACK_CHANNEL, spaced)) is not None


def _spaced_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return re.fullmatch(rf"(?:(?:{pattern.pattern})\s*)+", text)


def _is_acknowledgement(text: str) -> bool:
    bare = _PUNCTUATION.sub("", text.lower())
    spaced = _PUNCTUATION.sub(" ", text.lower()).strip()
    return (_ACKNOWLEDGEMENT.fullmatch(bare) or _spaced_match(_ACKNOWLEDGEMENT, spaced)) is not None


def spoken_characters(text: str) -> int:
    """Characters as they are spoken: a CJK character and a digit count one, a Latin word its syllables.

    A Chinese character is one syllable, so the rate of mixed talk stays comparable: "好的 OK" is two characters and
    two letters. A Latin word written in capitals only, up to five letters, is spelt out (VIP: 3); any other counts
    its vowel groups, a silent final e left out, at least one.
    """
    count = len(_CJK.findall(text)) + sum(character.isdigit() for character in text)
    for word in _LATIN.findall(text):
        if word.isupper() and len(word) <= 5:
            count += len(word)
        else:
            bare = re.sub(r"(?<=[^aeiouyl])e$|(?<=[aeiouy]l)e$", "", word.lower())
            count += max(1, len(re.findall(r"[aeiouyà-ÿ]+", bare)))
    return count


def owes(turns: Sequence[Turn], before: int | None) -> Role | None:
    """Who owes the next word after turn `before`; None where nobody does, or it cannot be told.

    After a customer's turn the agent, unless the customer asked for time (我找找). After an agent's hold request or
    announced action (我帮您查一下) the agent; after an agent's question or request the customer. An acknowledgement
    hands the floor back: it leaves the debt where it was, and answers a question.
    """
    if before is None:
        return None
    answered = False
    for turn in reversed(turns[: before + 1]):
        if turn.role not in (Role.AGENT, Role.CUSTOMER) or not _counts(turn):
            continue
        if _FAREWELL.search(turn.text):
            return None
        if turn.role is Role.CUSTOMER:
            if _is_acknowledgement(turn.text):
                answered = True
                continue
            return Role.CUSTOMER if not answered and _CUSTOMER_HOLDS.search(turn.text) else Role.AGENT
        debt = _agent_leaves(turn.text)
        if debt is Role.CUSTOMER and answered:
            return Role.AGENT
        if debt is None and is_back_channel(turn.text):
            continue
        return debt
    return None


def _agent_leaves(text: str) -> Role | None:
    """The debt that the last telling clause of an agent's turn leaves."""
    debt: Role | None = None
    for clause, mark in re.findall(r"([^，。？！；,.?!;]+)([，。？！；,.?!;]?)", text):
        clause = clause.strip()
        if debt is Role.AGENT and _TAG_QUESTION.match(clause):
            continue
        if _AGENT_HOLDS.search(clause):
            debt = Role.AGENT
        elif _QUESTION.search(clause + mark) or _REQUEST.search(clause):
            debt = Role.CUSTOMER
    return debt


# -- intervals ----------------------------------------------------------------------------------------------------


def merge(spans: Iterable[Span], gap: float = 0.0) -> tuple[Span, ...]:
    """Sorted, disjoint spans; neighbours not more than `gap` seconds apart become one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if span.end <= span.start:
            continue
        if merged and span.start <= merged[-1].end + gap:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)


def subtract(spans: Iterable[Span], holes: Iterable[Span]) -> tuple[Span, ...]:
    """What of `spans` no hole covers."""
    gaps = merge(holes)
    rest: list[Span] = []
    first = 0
    for span in merge(spans):
        while first < len(gaps) and gaps[first].end <= span.start:
            first += 1
        start, index = span.start, first
        while index < len(gaps) and gaps[index].start < span.end:
            if gaps[index].start > start:
                rest.append(Span(start, gaps[index].start))
            start = max(start, gaps[index].end)
            index += 1
        if start < span.end:
            rest.append(Span(start, span.end))
    return tuple(rest)


def intersect(left: Iterable[Span], right: Iterable[Span]) -> tuple[Span, ...]:
    """What both cover."""
    mine, theirs = merge(left), merge(right)
    shared: list[Span] = []
    i = j = 0
    while i < len(mine) and j < len(theirs):
        both = mine[i] & theirs[j]
        if both:
            shared.append(both)
        if mine[i].end <= theirs[j].end:
            i += 1
        else:
            j += 1
    return tuple(shared)


def _within(regions: Sequence[Span], span: Span) -> tuple[Span, ...]:
    """The parts of sorted, disjoint regions that lie in a span."""
    first = bisect_left(regions, span.start, key=lambda region: region.end)
    last = bisect_left(regions, span.end, key=lambda region: region.start)
    return tuple(shared for region in regions[first:last] if (shared := region & span))


def _total(spans: Iterable[Span]) -> float:
    return sum(span.duration for span in spans)


# -- measuring ----------------------------------------------------------------------------------------------------


def channel_of(speaker: str) -> str:
    """The channel or cluster on which a split-off speaker talks: "A#ivr" and "A#2" both sound on "A"."""
    return speaker.split("#", 1)[0]


def measure(
    turns: Sequence[Turn], speech: Mapping[str, Sequence[Span]], duration: float, music: Sequence[Span] = ()
) -> Acoustics:
    """Measure a call on its sound.

    `turns` in order of their start, with roles where they are known; `speech` maps each speaker (the channel, or
    the diarized speaker) to the regions where a voice was heard; `music` holds hold music and tones.
    """
    music = merge(music)
    heard = _Heard(turns, speech)
    spoken = [span for turn in turns if _counts(turn) for span in word_regions(turn)]
    hushed = subtract(music, spoken)  # a voice detector fires on singing: there music decides, unless words were heard
    sound = [span for spans in speech.values() for span in spans]
    for turn in turns:
        if turn.span and turn.role in (Role.IVR, Role.SYSTEM):
            sound.append(turn.span)
    quiet = subtract([Span(0.0, duration)], subtract(sound, hushed))
    silences = _silences(turns, quiet, hushed)
    overlaps = _overlaps(turns, heard)
    by_channel = [merge(spans) for spans in heard.people.values()]
    both = merge(span for i, left in enumerate(by_channel) for right in by_channel[i + 1 :] for span in intersect(left, right))
    return Acoustics(
        silences=silences,
        overlaps=overlaps,
        latencies=_latencies(turns, heard),
        music=music,
        talk_seconds={speaker: _total(spans) for speaker, spans in heard.people.items()},
        rate=_rates(turns, heard),
        silence_share=_total(silence.span for silence in silences if not silence.music) / duration if duration > 0 else 0.0,
        overlap_share=_total(both) / duration if duration > 0 else 0.0,
    )


def measure_turns(turns: Sequence[Turn], duration: float | None = None) -> Acoustics | None:
    """Measure a transcript that came without its sound: voice is where words are, or where the turn is.

    None where no turn has times: nothing was measured, which is not the same as nothing found.
    """
    speech: dict[str, list[Span]] = defaultdict(list)
    for turn in turns:
        if turn.span is None or not _counts(turn):
            continue
        speech[channel_of(turn.speaker)].extend(word_regions(turn))
    if not speech:
        return None
    last = max(span.end for spans in speech.values() for span in spans)
    return measure(turns, speech, max(duration or 0.0, last))


def word_regions(turn: Turn) -> tuple[Span, ...]:
    """Where a turn speaks: its words, pauses under 0.3 s closed; the whole turn where it has no words."""
    if turn.words:
        return merge((Span(word.start, max(word.end, word.start + 0.01)) for word in turn.words), WORD_GAP)
    return (turn.span,) if turn.span else ()


def rate_of_words(rate: Mapping[str, float], before: Sequence[Turn], after: Sequence[Turn], number: int) -> dict[str, float]:
    """Speech rates of a call whose turn `number` reads otherwise now: other characters in the same speaking time.

    The time that the sound gave is kept: it follows from the rate and the characters of before. A turn that counts by
    its new length only, or no longer, brings or takes the time of its words.
    """
    speaker = before[number].speaker
    whole = sum(_rated(turn) for turn in before if turn.speaker == speaker)
    if not whole or speaker not in rate:
        return dict(rate)
    old, new = _rated(before[number]), _rated(after[number])
    seconds = whole * 60.0 / rate[speaker]
    if bool(old) != bool(new):
        seconds += _total(word_regions(after[number])) * (1 if new else -1)
    characters = whole - old + new
    if characters <= 0 or seconds <= 0:
        return {name: value for name, value in rate.items() if name != speaker}
    return {**rate, speaker: characters * 60.0 / seconds}


def _rated(turn: Turn) -> int:
    """The characters with which a turn counts for its speaker's rate."""
    count = spoken_characters(turn.text)
    return count if turn.span and count >= RATE_MIN_CHARACTERS else 0


def turn_rate(turn: Turn, regions: Sequence[Span] | None = None) -> float | None:
    """Characters per minute of one turn; None under five characters or without times."""
    characters = spoken_characters(turn.text)
    seconds = _total(word_regions(turn) if regions is None else regions)
    return None if characters < RATE_MIN_CHARACTERS or seconds <= 0 else characters * 60.0 / seconds


def _counts(turn: Turn) -> bool:
    """Whether a turn was really spoken by its speaker."""
    return Mark.BLEED not in turn.marks and Mark.HALLUCINATION not in turn.marks and Mark.PROMPT_ECHO not in turn.marks


class _Heard:
    """Speech regions handed out to turns, and to the people who spoke them."""

    def __init__(self, turns: Sequence[Turn], speech: Mapping[str, Sequence[Span]]) -> None:
        self.by_turn: dict[int, tuple[Span, ...]] = {}
        self.people: dict[str, tuple[Span, ...]] = {}
        on_channel: dict[str, list[int]] = defaultdict(list)
        for index, turn in enumerate(turns):
            if turn.span:
                on_channel[channel_of(turn.speaker)].append(index)
        for channel in {**dict.fromkeys(speech), **on_channel}:
            self._hand_out(channel, merge(speech.get(channel, ())), turns, on_channel.get(channel, []))

    def _hand_out(self, channel: str, regions: tuple[Span, ...], turns: Sequence[Turn], indices: list[int]) -> None:
        people: dict[str, list[Span]] = defaultdict(list)
        taken: list[Span] = []
        for position, index in enumerate(indices):
            turn = turns[index]
            span = turn.span
            assert span is not None
            # A region belongs to the turn nearest to it, and reaches past the turn's own times by EDGE at the most.
            low, high = span.start - EDGE, span.end + EDGE
            if position:
                earlier = turns[indices[position - 1]].span
                assert earlier is not None
                low = max(low, min((earlier.end + span.start) / 2, span.start))
            if position + 1 < len(indices):
                following = turns[indices[position + 1]].span
                assert following is not None
                high = min(high, max((span.end + following.start) / 2, span.end))
            mine = _within(regions, Span(low, high))
            taken.extend(mine)
            if turn.role in (Role.IVR, Role.SYSTEM) or not _counts(turn):
                continue
            if own := mine or word_regions(turn):
                self.by_turn[index] = own
                people[turn.speaker].extend(own)
        unclaimed = [span for span in subtract(regions, taken) if span.duration > EDGE]
        if people and unclaimed:  # a voice that no word came of still is talk of whoever sits on this channel
            people[channel if channel in people else next(iter(people))].extend(unclaimed)
        self.people.update({speaker: merge(spans) for speaker, spans in people.items()})

    def onset(self, index: int) -> float:
        return self.by_turn[index][0].start

    def end(self, index: int) -> float:
        return self.by_turn[index][-1].end


def _silences(turns: Sequence[Turn], quiet: Sequence[Span], music: Sequence[Span]) -> tuple[Silence, ...]:
    timed = sorted((turn.span, index) for index, turn in enumerate(turns) if turn.span and _counts(turn))
    starts = [span.start for span, _ in timed]
    found: list[Silence] = []
    for span, is_music in [(s, False) for s in subtract(quiet, music)] + [(s, True) for s in intersect(quiet, music)]:
        if span.duration < SILENCE_NOTED:
            continue
        middle = (span.start + span.end) / 2
        split = bisect_left(starts, middle)
        # Turns of both sides interleave and overlap: a few back, the one that spoke last is not the one that began last.
        earlier = [(min(t.end, span.start), t.start, i) for t, i in timed[max(0, split - NEARBY_TURNS) : split]]
        later = [
            (max(t.start, span.end), t.end, i)
            for t, i in timed[max(0, split - NEARBY_TURNS) : split + NEARBY_TURNS]
            if t.end > middle
        ]
        before = max(earlier)[2] if earlier else None
        after = min(later)[2] if later else None
        found.append(Silence(span, before, after, owes(turns, before), is_music))
    return tuple(sorted(found, key=lambda silence: silence.span))


def _overlaps(turns: Sequence[Turn], heard: _Heard) -> tuple[Overlap, ...]:
    found: list[Overlap] = []
    order = sorted(heard.by_turn, key=heard.onset)
    going: list[int] = []  # turns that have begun and not ended
    for index in order:
        going = [earlier for earlier in going if heard.end(earlier) > heard.onset(index)]
        for earlier in going:
            if turns[earlier].speaker == turns[index].speaker:
                continue
            shared = intersect(heard.by_turn[earlier], heard.by_turn[index])
            if _total(shared) < OVERLAP_NOTED:
                continue
            span = Span(shared[0].start, shared[-1].end)
            deep = heard.onset(index) - heard.onset(earlier) >= INTERRUPTION_DEPTH
            long = _total(shared) >= INTERRUPTION_LENGTH
            claim = deep and long and not is_back_channel(_said_during(turns[index], span))
            found.append(Overlap(span, turn=index, against=earlier, interruption=claim))
        going.append(index)
    return tuple(sorted(found, key=lambda overlap: (overlap.span, overlap.turn)))


def _said_during(turn: Turn, span: Span) -> str:
    """The words of a turn that fall into a span; the whole text where word times cannot tell."""
    said = "".join(word.text for word in turn.words if (word.start + word.end) / 2 in span)
    return said if _PUNCTUATION.sub("", said) else turn.text


def _latencies(turns: Sequence[Turn], heard: _Heard) -> tuple[Latency, ...]:
    found: list[Latency] = []
    order = sorted(heard.by_turn, key=heard.onset)
    machine = sorted(t.start for t in turns if t.start is not None and t.role in (Role.IVR, Role.SYSTEM))
    previous: int | None = None  # the turn that ended last so far
    for index in order:
        onset, end, last = heard.onset(index), heard.end(index), previous
        if last is None or end > heard.end(last):
            previous = index
        if last is None or (heard.end(last) >= end and is_back_channel(turns[index].text)):
            continue  # a nod within the other's talk answers nothing
        same_side = turns[last].role is not None and turns[last].role is turns[index].role
        if same_side or turns[last].speaker == turns[index].speaker:
            continue
        ended = heard.end(last)
        if ended <= onset and bisect_left(machine, onset) > bisect_left(machine, ended):
            continue  # an announcement came between: not this speaker's delay
        found.append(Latency(index, max(0.0, onset - ended)))
    return tuple(sorted(found, key=lambda latency: latency.turn))


def _rates(turns: Sequence[Turn], heard: _Heard) -> dict[str, float]:
    characters: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for index, regions in heard.by_turn.items():
        count = spoken_characters(turns[index].text)
        if count >= RATE_MIN_CHARACTERS:
            characters[turns[index].speaker] += count
            seconds[turns[index].speaker] += _total(regions)
    return {speaker: count * 60.0 / seconds[speaker] for speaker, count in characters.items() if seconds[speaker] > 0}


# -- voice --------------------------------------------------------------------------------------------------------

QUIETEST_DB = -120.0  # dBFS given to digital silence
F0_RANGE = (65.0, 420.0)  # Hz: low male to high female speech
F0_FRAME = 0.04  # s: more than two periods at 65 Hz
F0_CLEAR = 0.2  # YIN's aperiodicity threshold (de Cheveigné and Kawahara 2002 use 0.1–0.15 on clean speech; telephone: 0.2)
F0_FRAMES = 400  # frames looked at, spread evenly: the median needs no more


def voice(samples: np.ndarray, rate: int, regions: Sequence[Span]) -> Voice:
    """Loudness (RMS over the regions, dBFS) and median F0 (YIN) of a stretch of talk.

    `samples` # (samples,) float32 in [-1, 1] of one channel, at `rate` Hz (8 kHz telephone speech is enough: YIN
    finds the period also where the line cut off the fundamental).
    """
    import numpy as np

    pieces = [samples[max(0, round(r.start * rate)) : max(0, round(r.end * rate))] for r in regions]
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        return Voice(QUIETEST_DB, None)
    speech = np.concatenate(pieces).astype(np.float64)
    power = float(np.mean(speech**2))
    loudness = max(QUIETEST_DB, 10.0 * np.log10(power)) if power > 0 else QUIETEST_DB
    frames = [frame for piece in pieces for frame in _frames(piece.astype(np.float64), rate)]
    if not frames:
        return Voice(float(loudness), None)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(F0_FRAMES, len(frames))).astype(int))
    pitch = _yin(np.stack([frames[i] for i in chosen]), rate, power)
    return Voice(float(loudness), float(np.median(pitch)) if len(pitch) >= 3 else None)


def _frames(piece: np.ndarray, rate: int) -> np.ndarray:
    import numpy as np

    size, hop = round(F0_FRAME * rate), round(rate / 100)
    if len(piece) < size:
        return np.empty((0, size))
    return np.lib.stride_tricks.sliding_window_view(piece, size)[::hop]


def _yin(frames: np.ndarray, rate: int, power: float) -> np.ndarray:
    """F0 in Hz of the voiced ones among `frames` # (frames, samples)."""
    import numpy as np

    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames[(frames**2).mean(axis=1) > power / 10]  # the loud parts are the voiced ones
    if not len(frames):
        return np.empty(0)
    size = frames.shape[1]
    shortest, longest = int(rate / F0_RANGE[1]), min(int(rate / F0_RANGE[0]) + 1, size // 2 + size // 4)
    window = size - longest
    spectrum = np.fft.rfft(frames, 2 * size)
    head = np.fft.rfft(frames[:, :window], 2 * size)
    correlation = np.fft.irfft(spectrum * head.conj(), 2 * size)[:, : longest + 1]  # (frames, lags)
    energy = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    lags = np.arange(longest + 1)
    lagged = energy[:, lags + window] - energy[:, lags]
    difference = lagged[:, :1] + lagged - 2 * correlation
    running = np.cumsum(difference[:, 1:], axis=1)
    normal = difference[:, 1:] * lags[1:] / np.maximum(running, 1e-12)  # (frames, lags 1…longest)
    pitch: list[float] = []
    for row in normal:
        below = np.flatnonzero(row[shortest - 1 :] < F0_CLEAR)
        if not len(below):
            continue
        best = below[0] + shortest - 1
        while best + 1 < len(row) and row[best + 1] < row[best]:
            best += 1
        shift = 0.0
        if 0 < best < len(row) - 1:
            left, middle, right = row[best - 1 : best + 2]
            curve = left - 2 * middle + right
            shift = 0.5 * (left - right) / curve if curve > 0 else 0.0
        pitch.append(rate / (best + 1 + shift))
    return np.array(pitch)
