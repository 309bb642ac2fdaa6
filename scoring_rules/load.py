"""From pack folders to a Pack. All problems are collected; a rule with an error is left out, the good ones load.

A pack is a folder: pack.yaml (id, language, version, slots), define.yaml (shared conditions), lexicon.yaml (word
lists of the language), and any number of other *.yaml files with a list of rules each. A site's overlay is a folder
whose pack.yaml names the language pack it `extends` and what it changes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from scoring_rules.examples import read_examples
from scoring_rules.messages import LOCALES
from scoring_rules.model import (
    EVERYWHERE,
    Amount,
    Band,
    Condition,
    Confidence,
    Dimension,
    Expect,
    Lexicon,
    Mitigation,
    Pack,
    Place,
    Rule,
    RuleClass,
    RuleStatus,
    Scoring,
    Text,
)  # fmt: skip
from scoring_rules.parse import Conditions, places, read_phrases
from scoring_rules.problems import Origin, PackError, Problems
from scoring_rules.source import Source, read_file

HOME = Path(__file__).parent
ENGINE = "1"  # raised when the same pack would give other results than before
PACK_FILE, DEFINE_FILE, LEXICON_FILE = "pack.yaml", "define.yaml", "lexicon.yaml"
RULE_KEYS = (
    "id", "name", "status", "dimension", "class", "expect", "points", "award", "per", "cap", "speaker", "first", "last",
    "near", "when", "match", "unless", "suspect", "mitigate", "say_instead", "why", "references", "false_positives",
    "examples",
)  # fmt: skip
_RULE_ID = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def load_pack(
    languages: Sequence[str | Path] = ("zh", "en"),
    overlays: Sequence[Path] = (),
    *,
    slots: Mapping[str, str | Sequence[str]] | None = None,
    collect: bool = False,
) -> Pack:
    """The shipped packs of `languages` with the sites' `overlays` laid over them in order.

    A language may also be the folder (a Path) of a pack that stands alone. `slots` fill {company} and the like, over
    what the overlays say. Raises PackError with every error found, each as file:line:column and remedy. With
    `collect` the good rules are returned and the problems stand in `Pack.problems`.
    """
    named = tuple(str(name.resolve()) if isinstance(name, Path) else name for name in languages)
    key = named, tuple(Path(overlay).resolve() for overlay in overlays)
    stamp = tuple(_stamp(folder) for folder in [*(HOME / language for language in key[0]), HOME / "data", *key[1]])
    filled = tuple((name, (value,) if isinstance(value, str) else tuple(value)) for name, value in sorted((slots or {}).items()))
    pack = _load(*key, filled, stamp)
    errors = [problem for problem in pack.problems if problem.severity == "error"]
    if errors and not collect:
        raise PackError(errors)
    return pack


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a folder's files have changed, so that an unchanged pack is read once a process."""
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.npz")]):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


@lru_cache(maxsize=16)
def _load(
    languages: tuple[str, ...],
    overlays: tuple[Path, ...],
    filled: tuple[tuple[str, tuple[str, ...]], ...],
    _: object,
) -> Pack:
    problems = Problems()
    digest = hashlib.sha256(ENGINE.encode())
    versions: dict[str, str] = {}
    scoring_source = read_file(HOME / "data" / "scoring.yaml", "scoring.yaml", problems)
    scoring = read_scoring(scoring_source, None) if scoring_source else None
    if scoring is None:
        raise PackError(problems.errors)
    folders = [folder for language in languages if (folder := _Folder.read(HOME / language, problems))]
    spoken = tuple(folder.language for folder in folders)
    layers: list[_Folder] = []
    for path in overlays:
        layer = _Folder.read(path, problems)
        if layer and layer.extends and layer.extends not in spoken:
            layer.head["extends"].warning("extends_unused", language=layer.extends, languages=", ".join(spoken))
            continue
        if layer and not layer.extends:
            problems.error(Origin(_shown(path / PACK_FILE)), "no_extends")
            continue
        if layer:
            layers.append(layer)
            if "scoring" in layer.head:
                scoring = read_scoring(layer.head["scoring"], scoring) or scoring
    rules: list[Rule] = []
    lexicons: dict[str, Lexicon] = {}
    slots: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        mine = [layer for layer in layers if layer.extends == folder.language]
        own: dict[str, tuple[str, ...]] = {}
        for part in (folder, *mine):
            versions[part.id] = part.version
            own |= {name: values for name, values in part.slots.items() if values or name not in own}
            digest.update(part.digest)
        for name, values in own.items():  # a company is called by its names in every language
            slots[name] = tuple(dict.fromkeys((*slots.get(name, ()), *values)))
        lexicons[folder.language] = folder.lexicon(mine)
        rules += _rules_of(folder, mine, scoring, problems)
    slots.update(filled)
    digest.update(repr(filled).encode())
    for path in sorted(p for p in (HOME / "data").iterdir() if p.suffix in (".npz", ".txt", ".yaml")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return Pack(
        rules=tuple(rules),
        scoring=scoring,
        lexicons=MappingProxyType(lexicons),
        slots=MappingProxyType(slots),
        languages=spoken,
        versions=MappingProxyType(versions),
        fingerprint=digest.hexdigest()[:16],
        problems=tuple(problems.found),
    )


@dataclass
class _Folder:
    """One pack folder, read but not yet understood."""

    path: Path
    id: str
    language: str
    extends: str
    version: str
    head: dict[str, Source]
    files: list[Source]
    definitions: dict[str, Source]
    words: dict[str, tuple[str, ...]]
    slots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: bytes = b""

    @staticmethod
    def read(path: Path, problems: Problems) -> _Folder | None:
        head_file = path / PACK_FILE
        if not head_file.is_file():
            problems.error(Origin(_shown(head_file)), "no_pack_file", folder=_shown(path))
            return None
        root = read_file(head_file, _shown(head_file), problems)
        if root is None:
            return None
        head = root.mapping(("id", "name", "language", "extends", "version", "slots", "rules", "define", "scoring"))
        for key in ("id", "version"):
            if key not in head:
                root.error("missing_key", key=key)
        extends = head["extends"].text() if "extends" in head else ""
        folder = _Folder(
            path=path,
            id=head["id"].text() if "id" in head else path.name,
            language=head["language"].text() if "language" in head else extends,
            extends=extends,
            version=head["version"].text() if "version" in head else "",
            head=head,
            files=[],
            definitions={},
            words={},
        )
        if not folder.language:
            root.error("missing_key", key="language")
        for name, child in (head["slots"].mapping() if "slots" in head else {}).items():
            folder.slots[name] = child.texts() if child.kind != "nothing" else ()
        digest = hashlib.sha256()
        for file in sorted(path.glob("*.yaml")):
            source = root if file == head_file else read_file(file, _shown(file), problems)
            if source is None:
                continue
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
            if file.name == DEFINE_FILE:
                folder.definitions = source.mapping()
            elif file.name == LEXICON_FILE:
                folder.words = {name: child.texts() for name, child in source.mapping().items()}
            elif file != head_file:
                folder.files.append(source)
        folder.digest = digest.digest()
        return folder

    def lexicon(self, layers: Sequence[_Folder]) -> Lexicon:
        words = dict(self.words)
        for layer in layers:
            for name, more in layer.words.items():
                words[name] = (*words.get(name, ()), *more)
        return Lexicon(MappingProxyType(words))


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _rules_of(folder: _Folder, layers: Sequence[_Folder], scoring: Scoring, problems: Problems) -> list[Rule]:
    definitions: dict[str, list[Source]] = {name: [node] for name, node in folder.definitions.items()}
    for layer in layers:
        definitions.update({name: [node] for name, node in layer.definitions.items()})
        for name, node in (layer.head["define"].mapping() if "define" in layer.head else {}).items():
            if name not in definitions:
                node.error("unknown_definition", name=name, hint="")
            more = node.many()
            if not more:
                node.error("no_items")
                continue
            definitions.setdefault(name, []).extend(more)
    conditions = Conditions(definitions)
    rules: dict[str, Rule] = {}
    for part in (folder, *layers):
        for source in part.files:
            if source.kind != "list":
                source.error("rules_not_a_list")
                continue
            for node in source.items():
                rule = read_rule(node, folder.language, scoring, conditions)
                if rule is None:
                    continue
                if rule.id in rules:
                    node.error("duplicate_id", id=rule.id, first=rules[rule.id].origin)
                    continue
                rules[rule.id] = rule
    for layer in layers:
        changes = layer.head["rules"].mapping() if "rules" in layer.head else {}
        for rule_id, node in changes.items():
            if rule_id not in rules:
                from scoring_rules.source import nearest

                node.error("unknown_rule", id=rule_id, hint=nearest(rule_id, list(rules)))
                continue
            rules[rule_id] = _changed(rules[rule_id], node, conditions)
    for name in definitions:
        if name not in conditions.used:
            definitions[name][0].warning("unused_definition", name=name)
            conditions.named(definitions[name][0], name)
    return list(rules.values())


def _changed(rule: Rule, node: Source, conditions: Conditions) -> Rule:
    """A rule as an overlay changes it; unchanged where the change has errors."""
    before = len(node.problems.errors)
    keys = node.mapping(("status", "points", "award", "class", "cap", "phrases", "tolerance", "match", "unless", "suspect", "mitigate"))
    changes: dict[str, object] = {}
    if "status" in keys:
        changes["status"] = RuleStatus(keys["status"].choice([status.value for status in RuleStatus]))
    if "class" in keys:
        changes["rule_class"] = RuleClass(keys["class"].choice([kind.value for kind in RuleClass]))
    for key in ("points", "award", "cap"):
        if key in keys:
            changes[key] = keys[key].number(0, 100)
    more = conditions.read_all(keys["match"]) if "match" in keys else ()
    if "phrases" in keys:
        phrase = read_phrases(keys["phrases"], keys)
        if phrase is not None:
            more = (*more, Condition(phrase, EVERYWHERE, keys["phrases"].origin))
    if more:
        changes["match"] = (*rule.match, *more)
    for key in ("unless", "suspect"):
        if key in keys:
            changes[key] = (*getattr(rule, key), *conditions.read_all(keys[key]))
    if "mitigate" in keys:
        added = conditions.read_all(keys["mitigate"])
        old = rule.mitigate or Mitigation((), _within("agent"))
        changes["mitigate"] = replace(old, conditions=(*old.conditions, *added))
    return rule if len(node.problems.errors) > before else replace(rule, **changes)  # type: ignore[arg-type]


def read_rule(node: Source, language: str, scoring: Scoring, conditions: Conditions) -> Rule | None:
    """One rule, or None after noting what is wrong with it."""
    before = len(node.problems.errors)
    keys = node.mapping(RULE_KEYS)
    for key in ("id", "name", "dimension", "expect", "match"):
        if keys and key not in keys:
            node.error("missing_key", key=key)
    if not keys or len(node.problems.errors) > before:
        return None
    rule_id = keys["id"].text()
    if not _RULE_ID.fullmatch(rule_id):
        keys["id"].error("bad_id", id=rule_id)
    expect = Expect(keys["expect"].choice([choice.value for choice in Expect]))
    where = conditions.where({key: child for key, child in keys.items() if key in ("speaker", "first", "last", "near")})
    speaker = where.speaker or ("agent",)
    rule = Rule(
        id=rule_id,
        language=language,
        name=_text(keys["name"], language),
        dimension=keys["dimension"].choice(list(scoring.dimensions)),
        expect=expect,
        match=conditions.read_all(keys["match"]),
        origin=node.origin,
        status=RuleStatus(keys["status"].choice([s.value for s in RuleStatus])) if "status" in keys else RuleStatus.STABLE,
        rule_class=RuleClass(keys["class"].choice([c.value for c in RuleClass])) if "class" in keys else RuleClass.NON_FATAL,
        points=keys["points"].number(0, 100) if "points" in keys else 0.0,
        award=keys["award"].number(0, 100) if "award" in keys else 0.0,
        per=keys["per"].choice(("call", "finding")) if "per" in keys else "call",
        cap=keys["cap"].number(0, 100) if "cap" in keys else None,
        where=replace(where, speaker=speaker),
        when=conditions.read_all(keys["when"], "call") if "when" in keys else (),
        unless=conditions.read_all(keys["unless"]) if "unless" in keys else (),
        suspect=conditions.read_all(keys["suspect"]) if "suspect" in keys else (),
        mitigate=_mitigation(keys["mitigate"], speaker[0], conditions) if "mitigate" in keys else None,
        say_instead=_text(keys.get("say_instead"), language),
        why=_text(keys.get("why"), language),
        references=keys["references"].texts() if "references" in keys else (),
        false_positives=_text(keys.get("false_positives"), language),
        examples=read_examples(keys["examples"], expect) if "examples" in keys else (),
    )
    if expect is Expect.PRESENT:
        for key in ("unless", "suspect", "mitigate"):
            if key in keys:
                keys[key].error("only_absent", key=key)
    elif "award" in keys:
        keys["award"].error("only_present", key="award")
    if len(node.problems.errors) > before or not rule.match:
        return None
    return rule


def _within(role: str) -> tuple[Place, ...]:
    """Domain: a reason given within the same or the next turn of that role mitigates."""
    return Place("turn"), Place("next", Amount(1, "turns", role))


def _mitigation(node: Source, role: str, conditions: Conditions) -> Mitigation | None:
    keys = node.mapping(("within", "points", "any"))
    if "any" not in keys:
        if keys:
            node.error("missing_key", key="any")
        return None
    spots = _within(role)
    if "within" in keys:
        spots = places(keys["within"])
        if all(place.name == "next" for place in spots):
            spots = (Place("turn"), *spots)
    return Mitigation(
        conditions=conditions.read_all(keys["any"]),
        places=spots,
        points=keys["points"].number(0, 100) if "points" in keys else 0.0,
    )


def _text(node: Source | None, language: str) -> Text:
    """A text in several languages, or in the pack's own."""
    if node is None:
        return MappingProxyType({})
    if node.kind == "mapping":
        return MappingProxyType({key: child.text() for key, child in node.mapping(LOCALES).items()})
    return MappingProxyType({language: node.text()})


def read_scoring(node: Source, base: Scoring | None) -> Scoring | None:
    """How points are counted; an overlay's mapping changes only what it names."""
    before = len(node.problems.errors)
    keys = node.mapping(("start", "passing", "award_cap", "dimensions", "bands", "confidence"))
    dimensions = dict(base.dimensions) if base else {}
    for name, child in (keys["dimensions"].mapping() if "dimensions" in keys else {}).items():
        parts = child.mapping(("name", "weight", "principle"))
        old = dimensions.get(name)
        if old is None and not {"name", "weight"} <= set(parts):
            child.error("missing_key", key="name, weight")
            continue
        dimensions[name] = Dimension(
            id=name,
            name=_text(parts["name"], "zh") if "name" in parts else old.name if old else {},
            weight=parts["weight"].number(0, 100) if "weight" in parts else old.weight if old else 0,
            principle=parts["principle"].choice(("courteous", "professional", "clear", "efficient"))
            if "principle" in parts
            else old.principle if old else "",
        )
    bands = list(base.bands) if base else []
    if "bands" in keys:
        bands = []
        for child in keys["bands"].many():
            parts = child.mapping(("at_least", "name"))
            if {"at_least", "name"} <= set(parts):
                bands.append(Band(parts["at_least"].number(0, 1000), _text(parts["name"], "zh")))
            else:
                child.error("missing_key", key="at_least, name")
        bands.sort(key=lambda band: -band.at_least)
    confidence = base.confidence if base else Confidence()
    if "confidence" in keys:
        parts = keys["confidence"].mapping(("word", "window"))
        confidence = replace(confidence, **{name: child.number(0, 1) for name, child in parts.items()})
    if len(node.problems.errors) > before:
        return None
    return Scoring(
        start=keys["start"].number(0, 1000) if "start" in keys else base.start if base else 100.0,
        passing=keys["passing"].number(0, 1000) if "passing" in keys else base.passing if base else 80.0,
        dimensions=MappingProxyType(dimensions),
        bands=tuple(bands),
        award_cap=keys["award_cap"].number(0, 100) if "award_cap" in keys else base.award_cap if base else 0.0,
        confidence=confidence,
    )

