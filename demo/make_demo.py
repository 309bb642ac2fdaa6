"""Make every file of the demo again from demo/scripts: sound, manifest, planted.jsonl, reference.

    python demo/make_demo.py --voices kokoro-js-1.2.1.tgz [--cache DIR] [--only d01,d02]

What it needs stands in demo/requirements.txt and demo/README.md. Sentences are spoken once and kept in the
cache, so that putting a call together again takes a moment.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sound
import soxr
from ruamel.yaml import YAML
from voices import RATE as VOICE_RATE
from voices import Voices

HERE = Path(__file__).resolve().parent
ROLES = ("agent", "customer", "ivr", "agent2")
SPEAKERS = {"agent": "A", "agent2": "A2", "ivr": "I", "customer": "B"}
AGENT_SIDE = ("agent", "agent2", "ivr")
COLUMNS = [
    "call_id", "file", "agent", "team", "queue", "direction", "started_at", "kind", "customer_key", "agent_channel",
    "tags", "elderly", "ended_by", "region",
]  # fmt: skip

FAMILIES = {
    "opening": ["opening.greeting", "opening.thanks", "opening.offer_help"],
    "hold": ["hold.request", "hold.thanks"],
    "complaint": ["complaint.apology", "complaint.commitment", "complaint.reapology_and_satisfaction"],
    "closing": ["closing.confirm_resolved", "closing.anything_else", "closing.thanks_wish", "closing.order"],
}
# Rules that a call passes unless its script plants a fault.
FORBIDDEN = [
    "neg.cannot", "neg.unable", "neg.not_my_job", "neg.unwilling", "neg.but_after_concession",
    "neg.refusal_without_reason", "lang.vague", "conduct.impatient_or_rude", "conduct.ordering_about_blame",
    "conduct.overpromise", "conduct.interruption", "conduct.silence", "compliance.privacy_readout",
]  # fmt: skip
# Rules that every script must speak about; handling.* where the script does.
REQUIRED = [rule for rules in FAMILIES.values() for rule in rules] + [
    "emotion.soothe",
    "elderly.pace",
    "compliance.identity_check",
]
OPTIONAL = ["handling.empathy", "handling.cause_explained", "handling.solution_offered"]
OUTCOMES = ("pass", "fault", "not_applicable", "open")  # open: people may differ, nothing is claimed

SENTENCE = re.compile(r"[^。？！；]*[。？！；]+”?|[^。？！；]+$")
PAUSE = 0.26  # s between two sentences of one turn, stretched by up to half
LEAD, TAIL = 0.6, 0.7  # s of line before the first and after the last word
SILENCE_FOUND = 5.0  # s, the finding of the domain's silence rule


@dataclass
class Spoken:
    """One turn as it sounds: sentences with their times, seconds from the start of the call."""

    role: str
    text: str
    start: float
    end: float
    sentences: list[tuple[str, float, float]]
    source: dict[str, Any]
    overlap: tuple[float, float] | None = None


@dataclass
class Call:
    script: dict[str, Any]
    turns: list[Spoken] = field(default_factory=list)
    events: list[tuple[str, float, float, dict[str, Any]]] = field(default_factory=list)
    tracks: dict[str, list[tuple[float, np.ndarray]]] = field(default_factory=dict)
    duration: float = 0.0

    @property
    def id(self) -> str:
        return self.script["call"]


def sentences(text: str) -> list[str]:
    return [part for part in SENTENCE.findall(text) if re.search(r"\w", part)]


def characters(text: str) -> int:
    return len(re.findall(r"[\u4e00-\u9fffA-Za-z0-9]", text))


def perform(script: dict[str, Any], voices: Voices) -> Call:
    """Speak the script and lay its turns on the clock."""
    call = Call(script, tracks={role: [] for role in ROLES})
    rng = np.random.default_rng(zlib.crc32(call.id.encode()))
    clock = script.get("lead", LEAD)  # end of all that has sounded so far
    forced_gap: float | None = 0.0
    main: Spoken | None = None
    for number, entry in enumerate(script["turns"]):
        where = f"{call.id}, entry {number}"
        if "silence" in entry:
            forced_gap = float(entry["silence"])
            call.events.append(("silence", clock, clock + forced_gap, entry))
            continue
        if "music" in entry:
            start = clock + 0.5
            tune = sound.hold_music(float(entry["music"]))
            call.tracks["agent"].append((start, tune))
            clock = start + len(tune) / sound.RATE
            call.events.append(("music", start, clock, entry))
            forced_gap = 0.5
            continue
        role = next((r for r in ROLES if r in entry), None)
        if role is None:
            raise SystemExit(f"{where}: no role; expected one of {ROLES}, silence or music")
        pieces, length = speak(entry, role, script, voices, rng)
        if "at" in entry:
            start = main.start + float(entry["at"])
        elif "overlap" in entry:
            start = main.end - float(entry["overlap"])
        else:
            natural = 0.3 + 0.45 * rng.random()
            start = clock + (forced_gap if forced_gap is not None else float(entry.get("gap", natural)))
        forced_gap = None
        turn = Spoken(role, entry[role], start, start + length, [], entry)
        for text, offset, wave in pieces:
            call.tracks[role].append((start + offset, wave))
            turn.sentences.append((text, start + offset, start + offset + len(wave) / sound.RATE))
        if main is not None and start < main.end:
            turn.overlap = (start, min(turn.end, main.end))
            if "overlap" in entry and start - main.start < 1:
                raise SystemExit(
                    f"{where}: the overlap starts {start - main.start:.2f} s into the other's turn"
                )
        call.turns.append(turn)
        clock = max(clock, turn.end)
        if "at" not in entry:
            main = turn
    call.duration = clock + script.get("tail", TAIL)
    return call


def speak(entry: dict[str, Any], role: str, script: dict[str, Any], voices: Voices, rng: np.random.Generator):
    """The sentences of one turn as (text, offset in seconds, sound at 8 kHz), and the turn's length."""
    voice = {**script["voices"][role], **{k: entry[k] for k in ("speed", "gain", "pitch") if k in entry}}
    pitch = float(voice.get("pitch", 1.0))
    pieces, offset = [], 0.0
    for text in sentences(entry[role]):
        spoken = text
        for written, sounded in script.get("read", {}).items():
            spoken = spoken.replace(written, sounded)
        wave = voices.say(spoken, voice["voice"], float(voice.get("speed", 1.0)) / pitch)
        wave = soxr.resample(wave, VOICE_RATE * pitch, sound.RATE).astype(np.float32)
        wave = sound.levelled(wave, float(voice.get("gain", 0.0)))
        pieces.append((text, offset, wave))
        offset += len(wave) / sound.RATE + PAUSE * (1 + 0.5 * rng.random())
    last = pieces[-1]
    return pieces, last[1] + len(last[2]) / sound.RATE


def mix(call: Call) -> np.ndarray:
    """The call as the recorder hears it. (channels, samples) float32 at 8 kHz."""
    script, line = call.script, call.script.get("line", {})
    rng = np.random.default_rng(zlib.crc32(f"line {call.id}".encode()))
    samples = round(call.duration * sound.RATE)
    sides = np.zeros((2, samples), np.float32)  # agent's side, customer's side
    for role, clips in call.tracks.items():
        for start, clip in clips:
            at = round(start * sound.RATE)
            side = 0 if role in AGENT_SIDE else 1
            sides[side, at : at + len(clip)] += clip[: samples - at]
    sides = np.stack([sound.band(side) for side in sides])
    if "bleed" in line:
        delay = round(0.03 * sound.RATE)
        echo = np.zeros_like(sides)
        echo[:, delay:] = sides[::-1, :-delay] * sound.db(line["bleed"])
        sides = sides + echo
    levels = (line.get("noise", -56), line.get("customer_noise", -52))
    sides += np.stack([sound.line_noise(samples, level, rng) for level in levels])
    if script.get("overdrive"):
        sides = sides * sound.db(script["overdrive"])
    if script.get("mono") or script.get("dual_mono"):
        sides = sides.sum(axis=0, keepdims=True)
        if not script.get("overdrive"):
            sides *= min(1.0, sound.CEILING / float(np.abs(sides).max()))
    if script.get("dual_mono"):
        sides = np.repeat(sides, 2, axis=0)
    if script.get("swapped"):
        sides = sides[::-1]
    if "dead_channel" in script:
        sides[script["dead_channel"]] = 0
    return np.clip(sides, -1, 1)


def planted(call: Call) -> list[dict[str, Any]]:
    """What a check may expect of this call, one fact a line."""
    facts: list[dict[str, Any]] = []

    def fact(rule: str, kind: str, turn: int | None = None, text: str = "", span=None, **more: Any) -> None:
        start, end = span or (None, None)
        row = {"call": call.id, "rule": rule, "kind": kind, "turn": turn, "text": text}
        row |= {
            "start": None if start is None else round(start, 2),
            "end": None if end is None else round(end, 2),
        }
        facts.append(row | {k: v for k, v in more.items() if v})

    for index, turn in enumerate(call.turns):
        for kind in ("fault", "trap"):
            for rule, words in turn.source.get(kind, {}).items():
                known(rule, call.id)
                span = turn.overlap if rule == "conduct.interruption" else span_of(turn, words, call.id)
                note, also = turn.source.get("note", ""), turn.source.get("also", [])
                fact(rule, kind, index, words or turn.text, span, also=list(also), note=note)
    for kind, start, end, source in call.events:
        for outcome in ("fault", "trap"):
            for rule in source.get(outcome, []):
                known(rule, call.id)
                fact(rule, outcome, None, "", (start, end), note=source.get("note", ""))
        if kind == "music":
            fact("music", "state", None, "", (start, end), note="hold music")
    for role, name in (("ivr", "ivr"), ("agent2", "second_agent")):
        for index, turn in enumerate(call.turns):
            if turn.role == role:
                fact(name, "state", index, turn.text, (turn.start, turn.end))
    for state in call.script.get("states", []):
        fact(state, "state", note=call.script.get("state_note", ""))
    for rule, (outcome, note) in outcomes(call, facts).items():
        fact(rule, outcome, note=note)
    return facts


def known(rule: str, call: str) -> None:
    if rule not in FORBIDDEN + REQUIRED + OPTIONAL:
        raise SystemExit(f"{call}: unknown rule {rule}")


def span_of(turn: Spoken, words: str, call: str) -> tuple[float, float]:
    """From the first to the last sentence that the words touch."""
    if words not in turn.text:
        raise SystemExit(f"{call}: “{words}” is not in: {turn.text}")
    if not words:
        return turn.start, turn.end
    first, position, touched = turn.text.index(words), 0, []
    for text, start, end in turn.sentences:
        position = turn.text.index(text, position)
        if position < first + len(words) and first < position + len(text):
            touched.append((start, end))
        position += len(text)
    return touched[0][0], touched[-1][1]


def outcomes(call: Call, facts: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """The items of the whole call; a rule with faults in the turns has its lines there already."""
    items: dict[str, tuple[str, str]] = dict.fromkeys(FORBIDDEN, ("pass", ""))
    for name, value in call.script.get("items", {}).items():
        outcome, note = (value, "") if isinstance(value, str) else (value["outcome"], value.get("note", ""))
        if outcome not in OUTCOMES:
            raise SystemExit(f"{call.id}: outcome of {name} is {outcome}; expected one of {OUTCOMES}")
        for rule in FAMILIES.get(name, [name]):
            known(rule, call.id)
            items[rule] = (outcome, note)
    faulty = {row["rule"] for row in facts if row["kind"] == "fault"}
    for rule in faulty:
        if rule in call.script.get("items", {}) and items[rule][0] != "fault":
            raise SystemExit(f"{call.id}: {rule} has a fault in a turn but its outcome is {items[rule][0]}")
        items.pop(rule, None)
    missing = [rule for rule in REQUIRED if rule not in items and rule not in faulty]
    if missing and not call.script.get("unjudged"):
        raise SystemExit(f"{call.id}: items say nothing of {', '.join(missing)}")
    if call.script.get("unjudged"):
        return {}
    return {rule: item for rule, item in items.items() if item[0] != "open"}


def agent_rate(call: Call) -> float:
    """Characters a minute over the agents' turns of five characters and more."""
    turns = [t for t in call.turns if t.role in ("agent", "agent2") and characters(t.text) >= 5]
    seconds = sum(t.end - t.start for t in turns)
    return 60 * sum(characters(t.text) for t in turns) / seconds if seconds else 0.0


def reference(call: Call) -> dict[str, Any]:
    manifest = call.script["manifest"]
    attributes = {
        "kind": call.script["kind"],
        "elderly": bool(manifest.get("elderly")),
        "agent": manifest["agent"],
    }
    attributes |= {"team": manifest["team"], "direction": manifest.get("direction", "inbound")}
    if manifest.get("ended_by"):
        attributes["ended_by"] = manifest["ended_by"]
    turns = [
        {
            "speaker": SPEAKERS[t.role],
            "role": "agent" if t.role == "agent2" else t.role,
            "start": round(t.start, 3),
            "end": round(t.end, 3),
            "text": t.text,
        }
        for t in call.turns
    ]
    body = {"format": 1, "id": call.id, "language": "zh", "duration": round(call.duration, 3)}
    return body | {"attributes": attributes, "agent_rate": round(agent_rate(call)), "turns": turns}


def rttm(call: Call) -> str:
    rows = [
        f"SPEAKER {call.id} 1 {start:.3f} {end - start:.3f} <NA> <NA> {SPEAKERS[t.role]} <NA> <NA>\n"
        for t in call.turns
        for _, start, end in t.sentences
    ]
    return "".join(rows)


def manifest_row(script: dict[str, Any]) -> dict[str, str]:
    given = {"direction": "inbound", **script.get("manifest", {})}
    given.setdefault("kind", script.get("kind", ""))
    if not script.get("mono"):
        given.setdefault("agent_channel", 0)
    row = {"call_id": script["call"], "file": f"audio/{script['file']}", **given}
    unknown = set(row) - set(COLUMNS)
    if unknown:
        raise SystemExit(f"{script['call']}: unknown manifest fields {sorted(unknown)}")
    return {name: str(row.get(name, "")) for name in COLUMNS}


def make_bad(entry: dict[str, Any], audio: Path) -> None:
    """A file that is wrong as a file, from nothing or from the bytes of a good one."""
    target, how = audio / entry["file"], entry["made"]
    if how == "empty":
        target.write_bytes(b"")
    elif how == "text":
        target.write_text(entry["content"], encoding="utf-8")
    elif how == "copy":
        shutil.copyfile(audio / entry["from"], target)
    elif how == "cut":
        target.write_bytes((audio / entry["from"]).read_bytes()[: entry["keep_bytes"]])
    elif how == "line":
        rng = np.random.default_rng(zlib.crc32(entry["call"].encode()))
        samples = round(entry["seconds"] * sound.RATE)
        noise = np.stack([sound.line_noise(samples, entry["noise"], rng) for _ in range(entry["channels"])])
        sound.encode(noise, entry["codec"], target)
    else:
        raise SystemExit(f"{entry['call']}: made is {how}; expected empty, text, copy, cut or line")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", type=Path, required=True, help="the npm tarball kokoro-js-1.2.1.tgz")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/huiting-demo")
    parser.add_argument("--only", default="", help="comma-separated call ids: speak and encode only these")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    voices = Voices(options.voices, options.cache, options.threads)
    yaml = YAML(typ="safe")
    audio, references = HERE / "audio", HERE / "reference"
    audio.mkdir(exist_ok=True)
    references.mkdir(exist_ok=True)

    scripts = [
        yaml.load(path.read_text(encoding="utf-8")) for path in sorted((HERE / "scripts").glob("*.yaml"))
    ]
    bad = next(script["files"] for script in scripts if "files" in script)
    scripts = [script for script in scripts if "turns" in script]
    rows, facts = [], []
    for script in scripts:
        call = perform(script, voices)
        lines = planted(call)
        if not only or call.id in only:
            sound.encode(mix(call), script["codec"], audio / script["file"])
            text = json.dumps(reference(call), ensure_ascii=False, indent=1) + "\n"
            (references / f"{call.id}.json").write_text(text, encoding="utf-8")
            if script.get("mono"):
                (references / f"{call.id}.rttm").write_text(rttm(call), encoding="utf-8")
            size = (audio / script["file"]).stat().st_size
            print(
                f"{call.id}  {call.duration:6.1f} s  {size:9,d} bytes  agent {agent_rate(call):3.0f}/min  {script['title']}"
            )
        rows.append(manifest_row(script))
        facts += lines
    for entry in bad:
        make_bad(entry, audio)
        rows.append(manifest_row(entry))
        row = {"call": entry["call"], "rule": entry["state"], "kind": "state", "turn": None, "text": ""}
        facts.append(
            row | {"start": None, "end": None} | {k: entry[k] for k in ("also", "note") if k in entry}
        )
    with (HERE / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)
    (HERE / "planted.jsonl").write_text(lines, encoding="utf-8")
    total = sum(path.stat().st_size for path in audio.iterdir())
    print(f"{len(rows)} files, {total:,d} bytes of sound, {len(facts)} planted facts")


if __name__ == "__main__":
    main()
