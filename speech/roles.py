"""Who is the agent, who the customer, what a machine said, and where a second agent took over."""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise

from speech.acoustics import channel_of
from speech.attribute import split_turn
from speech.types import Mark, Role, RoleGuess, Span, Turn

SURE = 0.995  # a guess is never certain
HINT_LIMIT = 2.5  # nats that a channel convention may weigh at the most: words that speak clearly overrule it
WORDS_SCALE = 0.75  # cues of one speaker are not independent: their sum counts for less than they would
FIRST_INBOUND = 0.4  # nats: who answers with the opening words tends to be the agent
OPPOSITE_KNOWN = 2.0  # nats for the role that is still open where the metadata gives the other one
THIRD_SHIFT = 1.5  # nats by which the two main speakers' level may move the bar for a third
INTRODUCED = 3.0  # nats for a new voice that introduces itself after a hand-over
MUSIC_FOLLOWS = 2.0  # s after an announcement in which its music begins …
MUSIC_OVERLAP = 1.0  # … or before its end, as the two detectors see it
TRANSFER_REACH = 14  # turns within which a hand-over is followed by the new agent's introduction


@dataclass(frozen=True, slots=True)
class _Cue:
    name: str
    weight: float
    pattern: re.Pattern[str]
    times: int = 1


@dataclass(frozen=True, slots=True)
class _Phrases:
    cues: tuple[_Cue, ...]
    ivr: tuple[_Cue, ...]
    ivr_threshold: float
    at_the_edge: float
    before_music: float
    neighbour: float
    transfer: re.Pattern[str]
    introduction: re.Pattern[str]
    post: re.Pattern[str]


@cache
def _phrases() -> _Phrases:
    data = tomllib.loads(resources.files("speech").joinpath("data/roles.toml").read_text("utf-8"))

    def cues(rows: list[dict]) -> tuple[_Cue, ...]:
        return tuple(
            _Cue(r.get("name", ""), r["weight"], re.compile(r["pattern"], re.I | re.M), r.get("times", 1)) for r in rows
        )

    settings, second = data["ivr_settings"], data["second_agent"]
    return _Phrases(
        cues(data["cue"]),
        cues(data["ivr"]),
        settings["threshold"],
        settings["at_the_edge"],
        settings["before_music"],
        settings["neighbour"],
        re.compile(second["transfer"], re.I),
        re.compile(second["introduction"], re.I),
        re.compile(second["post"], re.I),
    )


# -- agent or customer --------------------------------------------------------------------------------------------


def infer_roles(
    turns: Sequence[Turn], hint: Mapping[str, tuple[Role, float]] | None = None
) -> dict[str, RoleGuess]:
    """The role of each speaker, from what is said and, as a prior, from what the channel or the metadata suggests.

    A speaker whose turns all carry a role keeps it (`why` = metadata). `hint` maps speakers to the role that a
    convention gives them and how far it is trusted (0–1). Of two or more people at least one is the agent and one
    the customer; a third is judged alone, and a second agent (`second_agent`) goes with the first.
    """
    hint = hint or {}
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    guesses: dict[str, RoleGuess] = {}
    for speaker in speakers:
        given = {turn.role for turn in turns if turn.speaker == speaker}
        if len(given) == 1 and (role := given.pop()) is not None:
            guesses[speaker] = RoleGuess(role, 1.0, "metadata")
        elif (machine := _machine_share(turns, speaker)) > 0.6:
            guesses[speaker] = RoleGuess(Role.IVR, min(SURE, machine), "words")
    people = [s for s in speakers if s not in guesses and (s == channel_of(s) or channel_of(s) not in speakers)]
    for speaker, (lean, why) in _leanings(turns, people, hint, {guess.role for guess in guesses.values()}).items():
        role = Role.AGENT if lean > 0 else Role.CUSTOMER
        guesses[speaker] = RoleGuess(role, min(SURE, 1.0 / (1.0 + math.exp(-abs(lean)))), why)
    for speaker in speakers:  # a second agent sits on the first one's channel
        guesses.setdefault(speaker, guesses.get(channel_of(speaker), RoleGuess(Role.AGENT, 0.5, "words")))
    return {speaker: guesses[speaker] for speaker in speakers}


def _leanings(
    turns: Sequence[Turn], people: Sequence[str], hint: Mapping[str, tuple[Role, float]], known: set[Role]
) -> dict[str, tuple[float, str]]:
    """For each speaker the log-odds of being an agent, and which evidence they rest on."""
    if not people:
        return {}
    words = _agent_scores(turns, people)
    prior = {speaker: _prior(hint.get(speaker)) for speaker in people}
    total = {speaker: words[speaker] + prior[speaker] for speaker in people}
    shift = ((Role.CUSTOMER in known) - (Role.AGENT in known)) * OPPOSITE_KNOWN
    if len(people) == 1:
        lean = {speaker: value + shift or 0.01 for speaker, value in total.items()}
    else:
        # Only the contrast tells: two polite people both say 您. The two that differ most are opposites; anyone
        # else is judged alone.
        most, least = max(people, key=total.__getitem__), min(reversed(people), key=total.__getitem__)
        middle = (total[most] + total[least]) / 2 - shift
        near = max(-THIRD_SHIFT, min(THIRD_SHIFT, middle))
        lean = {s: 2 * (total[s] - middle) if s in (most, least) else total[s] - near for s in people}
        if total[most] == total[least]:
            lean[most] = 0.01  # nothing told them apart: who spoke first is taken for the agent, with no confidence
    return {speaker: (lean[speaker], _why(words, prior, speaker, lean[speaker] > 0)) for speaker in people}


def with_roles(turns: Sequence[Turn], roles: Mapping[str, RoleGuess]) -> tuple[Turn, ...]:
    """The turns with each speaker's role written in; a role a turn already carries stays."""
    return tuple(
        turn if turn.role is not None or turn.speaker not in roles else replace(turn, role=roles[turn.speaker].role)
        for turn in turns
    )


def _why(words: Mapping[str, float], prior: Mapping[str, float], speaker: str, agent: bool) -> str:
    """Which evidence points to the decision: what is said (against the others), the channel, or both."""
    others = [value for name, value in words.items() if name != speaker]
    said = words[speaker] - (sum(others) / len(others) if others else 0.0)
    by_words = abs(said) > 0.2 and (said > 0) == agent
    by_channel = any(abs(p) > 0.01 for p in prior.values()) and (
        (prior[speaker] - min(prior.values()) > 0 if agent else prior[speaker] - max(prior.values()) < 0)
        or (prior[speaker] > 0) == agent
    )
    return "words+channel" if by_words and by_channel else "channel" if by_channel else "words"


def _prior(hint: tuple[Role, float] | None) -> float:
    if hint is None or hint[0] not in (Role.AGENT, Role.CUSTOMER):
        return 0.0
    confidence = min(max(hint[1], 0.001), 0.999)
    odds = max(-HINT_LIMIT, min(HINT_LIMIT, math.log(confidence / (1 - confidence))))
    return odds if hint[0] is Role.AGENT else -odds


def _agent_scores(turns: Sequence[Turn], people: Sequence[str]) -> dict[str, float]:
    """Log-odds (nats) for being an agent, by speaker, from the cues in what each says."""
    scores = dict.fromkeys(people, 0.0)
    heard: dict[tuple[str, str], int] = defaultdict(int)
    spoke_first = False
    handed_over: tuple[int, str] | None = None  # where, by whom
    silent = set(people)  # who has not spoken yet
    for index, turn in enumerate(turns):
        if turn.speaker not in scores or Mark.BLEED in turn.marks or Mark.HALLUCINATION in turn.marks:
            continue
        if not spoke_first and len(turn.text) >= 4:
            scores[turn.speaker] += FIRST_INBOUND
            spoke_first = True
        text = re.sub(r"[“\"‘「][^”\"’」]*[”\"’」]", "", squeeze(turn.text))  # a quotation is somebody else's
        fresh = handed_over and index - handed_over[0] <= TRANSFER_REACH and handed_over[1] != turn.speaker
        if fresh and turn.speaker in silent and _phrases().introduction.search(text):
            scores[turn.speaker] += INTRODUCED
        silent.discard(turn.speaker)
        if _phrases().transfer.search(text):
            handed_over = index, turn.speaker
        for cue in _phrases().cues:
            left = cue.times - heard[turn.speaker, cue.name]
            if left <= 0:
                continue
            hits = min(left, sum(1 for _ in cue.pattern.finditer(text)))
            if hits:
                heard[turn.speaker, cue.name] += hits
                scores[turn.speaker] += hits * cue.weight * WORDS_SCALE
    return scores


def squeeze(text: str) -> str:
    """Without spaces between CJK characters: recognisers put some, phrases have none."""
    return re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef])\s+(?=[\u3000-\u9fff\uff00-\uffef])", "", text)


# -- announcements ------------------------------------------------------------------------------------------------


def split_ivr(turns: Sequence[Turn], music: Sequence[Span] = ()) -> tuple[Turn, ...]:
    """Take a machine's announcements out of people's turns: speaker "A" becomes "A#ivr", role IVR.

    Sentence by sentence: a turn that begins or ends with an announcement is cut there, its words along with it.
    An agent who tells the customer which key to press, or that the call is recorded, stays a person: first person,
    questions, titles and answers speak against a machine. `music` are the stretches of hold music and ring-back tones:
    who speaks before anybody on the other side does, and is followed by one, is a machine sooner than a person.
    """
    lines = [line for index, turn in enumerate(turns) for line in _lines(index, turn)]
    machine = _machine_lines(turns, lines, _before_music(turns, music))
    by_turn: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for line, flag in zip(lines, machine, strict=True):
        by_turn[line.turn].append((line.start, flag))
    return tuple(part for index, turn in enumerate(turns) for part in _cut_out(turn, by_turn[index]))


@dataclass(frozen=True, slots=True)
class _Line:
    """One sentence of a turn, from character `start`."""

    turn: int
    start: int
    text: str


def _lines(index: int, turn: Turn) -> list[_Line]:
    found = re.finditer(r"[^。！？!?]+(?:[。！？!?]+|$)|[。！？!?]+", turn.text)
    return [_Line(index, match.start(), match.group()) for match in found if match.group().strip()]


def _before_music(turns: Sequence[Turn], music: Sequence[Span]) -> set[int]:
    """Turns that music or a ring-back tone follows, up to where a second speaker is heard."""
    found: set[int] = set()
    for index, turn in enumerate(turns):
        if turn.speaker != turns[0].speaker:
            break
        end = turn.end
        if end is not None and any(-MUSIC_OVERLAP <= span.start - end <= MUSIC_FOLLOWS for span in music):
            found.update(range(index + 1))
    return found


def _machine_lines(turns: Sequence[Turn], lines: Sequence[_Line], before_music: Set[int] = frozenset()) -> list[bool]:
    """Which sentences a machine spoke."""
    phrases = _phrases()
    fixed = [turns[line.turn].role for line in lines]
    score = [_ivr_score(line.text) + phrases.before_music * (line.turn in before_music) for line in lines]
    person = [
        role is None and value < 0.5 and len(re.sub(r"\W", "", line.text)) >= 2
        for role, value, line in zip(fixed, score, lines, strict=True)
    ]
    first_person = person.index(True) if any(person) else len(lines)
    last_person = len(lines) - 1 - person[::-1].index(True) if any(person) else -1
    strong = [
        (value + (phrases.at_the_edge if not first_person < index < last_person else 0.0)) >= phrases.ivr_threshold
        for index, value in enumerate(score)
    ]
    flags = list(strong)
    for index, line in enumerate(lines):
        if flags[index] or score[index] <= 0:
            continue
        near = [
            other
            for other in (index - 1, index + 1)
            if 0 <= other < len(lines)
            and strong[other]
            and turns[lines[other].turn].speaker == turns[line.turn].speaker
        ]
        edge = phrases.at_the_edge if not first_person < index < last_person else 0.0
        flags[index] = bool(near) and score[index] + edge + phrases.neighbour >= phrases.ivr_threshold
    return [
        (role is Role.IVR) if role is not None else flag for role, flag in zip(fixed, flags, strict=True)
    ]


def _ivr_score(text: str) -> float:
    text = squeeze(text).strip()
    return sum(cue.weight for cue in _phrases().ivr if cue.pattern.search(text))


def _cut_out(turn: Turn, lines: Sequence[tuple[int, bool]]) -> list[Turn]:
    if not any(flag for _, flag in lines) or turn.role is not None:
        return [turn]
    parts: list[Turn] = []
    rest = turn
    for (_, before), (start, now) in reversed(list(pairwise(lines))):  # from the back: starts stay valid
        if before != now:
            rest, tail = split_turn(rest, start)
            parts.append(_as_ivr(tail) if now else tail)
    parts.append(_as_ivr(rest) if lines[0][1] else rest)
    return parts[::-1]


def _as_ivr(turn: Turn) -> Turn:
    return replace(turn, speaker=f"{turn.speaker}#ivr", role=Role.IVR)


def _machine_share(turns: Sequence[Turn], speaker: str) -> float:
    """How much of a speaker's text, by characters, is announcements."""
    lines = [line for index, turn in enumerate(turns) for line in _lines(index, turn)]
    flags = _machine_lines(turns, lines)
    mine = [(len(line.text), flag) for line, flag in zip(lines, flags, strict=True) if turns[line.turn].speaker == speaker]
    total = sum(length for length, _ in mine)
    return sum(length for length, flag in mine if flag) / total if total else 0.0


# -- the second agent ---------------------------------------------------------------------------------------------


def second_agent(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Give a second agent on the first one's channel a speaker of their own: "A" becomes "A#2" (then "A#3").

    Found by words: a hand-over by this speaker and, within a few turns, a new self-introduction of the same
    speaker; or an introduction with a post (值班经理, 技术专员, supervisor) that the speaker did not have before.
    Only a speaker who talks like an agent is looked at, so a customer's "转给你们主管" changes nothing.
    """
    people = list(dict.fromkeys(turn.speaker for turn in turns if turn.role not in (Role.IVR, Role.SYSTEM)))
    roles = infer_roles(turns)
    result = list(turns)
    for speaker in people:
        if roles[speaker].role is Role.AGENT:
            _rename_after_handover(result, speaker)
    return tuple(result)


def _rename_after_handover(turns: list[Turn], speaker: str) -> None:
    phrases = _phrases()
    number = 1
    spoken = 0  # turns of this speaker so far
    handed_over: int | None = None
    introduced = ""
    for index, turn in enumerate(turns):
        if turn.speaker != speaker:
            continue
        spoken += 1
        text = squeeze(turn.text)
        new = phrases.introduction.search(text)
        recent = handed_over is not None and index - handed_over <= TRANSFER_REACH
        if new and spoken > 1:
            post = phrases.post.search(text[: new.end() + 16])
            if recent or (post and post.group().lower() not in introduced):
                number += 1
                handed_over = None
                introduced = text
        elif new:
            introduced = text
        if phrases.transfer.search(text):
            handed_over = index
        if number > 1:
            turns[index] = replace(turn, speaker=f"{speaker}#{number}")
