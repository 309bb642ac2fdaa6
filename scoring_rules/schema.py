"""JSON Schema of the rule files, for completion and checks in editors. The loader checks more, with remedies."""

from __future__ import annotations

from typing import Any

from scoring_rules.load import RULE_KEYS
from scoring_rules.messages import LOCALES
from scoring_rules.model import Expect, FindingStatus, Outcome, RuleClass, RuleStatus, Tolerance
from scoring_rules.parse import EMOTIONS, ENTITIES, PLACES, ROLES, SUBJECTS, TESTS, UNITS

_TURNS = r"^(\d+(\.\d+)? ?((agent|customer) )?(turns?|seconds?|chars?)|rest)$"
_PLACE = r"^((previous|next)( \d+)?( (agent|customer))? turns?|" + "|".join(PLACES) + ")$"


def schema(dimensions: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a rule file: a list of rules."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Huiting rules",
        "type": "array",
        "items": {"$ref": "#/$defs/rule"},
        "$defs": {
            "text": {"oneOf": [_string(), _object({locale: _string() for locale in LOCALES})]},
            "amount": {"type": "string", "pattern": _TURNS},
            "condition": _condition(),
            "conditions": _one_or_many({"$ref": "#/$defs/condition"}),
            "near": _near(),
            "example": _example(),
            "rule": _rule(dimensions),
        },
    }


def _string() -> dict[str, Any]:
    return {"type": "string"}


def _number(low: float = 0, high: float | None = None) -> dict[str, Any]:
    return {"type": "number", "minimum": low} | ({} if high is None else {"maximum": high})


def _choice(values: tuple[str, ...] | list[str]) -> dict[str, Any]:
    return {"enum": list(values)}


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": list(required)} if required else {})


def _near() -> dict[str, Any]:
    amount = {"$ref": "#/$defs/amount"}
    return _object(
        {
            "of": {"$ref": "#/$defs/condition"},
            "which": _choice(("any", "first", "last", "nth", "every")),
            "nth": {"type": "integer", "minimum": 1},
            "before": amount,
            "after": amount,
            "around": amount,
        },
        ("of",),
    )


def _where() -> dict[str, Any]:
    amount = {"$ref": "#/$defs/amount"}
    return {"speaker": _one_or_many(_choice(ROLES)), "first": amount, "last": amount, "near": {"$ref": "#/$defs/near"}}


def _condition() -> dict[str, Any]:
    condition, conditions = {"$ref": "#/$defs/condition"}, {"type": "array", "items": {"$ref": "#/$defs/condition"}, "minItems": 1}
    band = _object({"over": _number(), "under": _number()})
    over = _object({"over": _number()}, ("over",))
    flag = {"type": "boolean"}
    labels = _one_or_many(_choice(EMOTIONS))
    tests: dict[str, Any] = {
        "phrase": _one_or_many({"type": ["string", "number"]}),
        "regex": _string(),
        "meaning": _one_or_many(_string()),
        "head": _string(),
        "entity": _one_or_many(_choice(ENTITIES)),
        "emotion": {"oneOf": [labels, _object({"label": labels, "at_least": _number(0, 1), "below": _number(0, 1), "peak": flag}, ("label",))]},
        "silence": {"oneOf": [_number(), _object({"at_least": _number(), "owed_by": _choice(("agent", "customer", "nobody")), "music": flag}, ("at_least",))]},
        "interruption": {"oneOf": [{"const": True}, _object({"at_least": _number()})]},
        "speech_rate": _object({"over": _number(), "under": _number(), "per": _choice(("call", "turn")), "min_chars": _number(1)}),
        "reply_latency": over,
        "repeat": {"oneOf": [{"const": True}, _object({"similarity": _number(0.5, 1), "min_chars": _number(1), "times": _number(2)})]},
        "talk_share": band,
        "loudness": over,
        "duration": band,
        "turn_count": band,
        "length": _object({"at_least": _number(1)}, ("at_least",)),
        "attribute": {"type": "object", "minProperties": 1},
        "slot": _string(),
        "question": flag,
        "quoted": flag,
        "negated": flag,
        "backchannel": flag,
        "subject": _one_or_many(_choice(SUBJECTS)),
        "all": conditions,
        "any": conditions,
        "not": condition,
        "at_least": {"oneOf": [_number(), _choice(("calibrated",))]},
        "sequence": conditions,
        "use": _string(),
    }
    assert set(tests) == set(TESTS)
    options = {
        "tolerance": _choice([tolerance.value for tolerance in Tolerance]),
        "among": condition,
        "unit": _choice(("clause", "sentence", "turn")),
        "same": _choice(UNITS),
        "gap": {"$ref": "#/$defs/amount"},
        "of": conditions,
        "in": _one_or_many({"type": "string", "pattern": _PLACE}),
    }
    return _object(tests | options | _where()) | {"minProperties": 1}


def _example() -> dict[str, Any]:
    outcomes = [*(status.value for status in FindingStatus), "none", *(outcome.value for outcome in Outcome)]
    said = {role: {"type": ["string", "number"]} for role in ("agent", "customer", "ivr", "system", "unknown")}
    options = {
        "here": {"type": "boolean"},
        "at": {"type": "array", "items": _number(), "minItems": 2, "maxItems": 2},
        "emotion": {},
        "overlap": _number(),
        "probability": _number(0, 1),
        "marks": _one_or_many(_string()),
        "rate": _number(1),
        "loudness": _number(-120, 0),
        "silence": _number(),
        "music": {"type": "boolean"},
    }
    turn = _object(said | options)
    return _object(
        {"expect": _choice(outcomes), "turns": {"type": "array", "items": turn, "minItems": 1}, "attributes": {"type": "object"}, "needs": {"const": "meaning"}},
        ("expect", "turns"),
    )


def _rule(dimensions: tuple[str, ...]) -> dict[str, Any]:
    text, conditions = {"$ref": "#/$defs/text"}, {"$ref": "#/$defs/conditions"}
    places = _one_or_many({"type": "string", "pattern": _PLACE})
    properties: dict[str, Any] = {
        "id": {"type": "string", "pattern": r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"},
        "name": text,
        "status": _choice([status.value for status in RuleStatus]),
        "dimension": _choice(dimensions),
        "class": _choice([kind.value for kind in RuleClass]),
        "expect": _choice([expect.value for expect in Expect]),
        "points": _number(0, 100),
        "award": _number(0, 100),
        "per": _choice(("call", "finding")),
        "cap": _number(0, 100),
        "when": conditions,
        "match": conditions,
        "unless": conditions,
        "suspect": conditions,
        "mitigate": _object({"within": places, "any": conditions, "points": _number(0, 100)}, ("any",)),
        "say_instead": text,
        "why": text,
        "references": _one_or_many(_string()),
        "false_positives": text,
        "examples": {"type": "array", "items": {"$ref": "#/$defs/example"}},
        **_where(),
    }
    assert set(properties) == set(RULE_KEYS)
    return _object(properties, ("id", "name", "dimension", "expect", "match"))
