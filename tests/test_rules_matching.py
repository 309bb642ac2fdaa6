"""Phrases over what a recogniser wrote: variants, sounds, offsets that lead back to the received text."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rulepack import Bench

from scoring_rules.call import common, joined
from scoring_rules.grammar import Grammar, Region
from scoring_rules.load import load_pack
from scoring_rules.match import Matcher
from scoring_rules.model import Tolerance
from scoring_rules.patterns import ROLE_BITS, Patterns, required_literals
from scoring_rules.sounds import folded, readings
from scoring_rules.text import fold, number_forms, views

LEXICON = load_pack(("zh",), collect=True).lexicons["zh"]


@pytest.fixture
def cannot(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "match: [{phrase: [我不能, 没办法给您, 24小时, 谢谢您], tolerance: pinyin}]")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("这个我不能退", "我不能"),
        ("这个我 不能退", "我 不能"),
        ("这个我，不能退", "我，不能"),
        ("這個我不能退", "我不能"),
        ("沒辦法給您退", "沒辦法給您"),
        ("我呃不能退", "我呃不能"),
        ("我那个不能退", "我那个不能"),
        ("我我我不能退", "我不能"),
        ("我不不能退", "我不不能"),
        ("我不我不能退", "我不能"),
        ("二十四小时到账", "二十四小时"),
        ("２４小时到账", "２４小时"),
        ("24 小时到账", "24 小时"),
        ("谢谢您", "谢谢您"),
    ],
)
def test_variants_are_found_where_they_stand(cannot: Bench, said: str, found: str) -> None:
    result = cannot.say(f"a: {said}")
    assert cannot.found(f"a: {said}") == [found]
    assert result.outcome == "fail"
    assert result.findings[0].how == "phrase"


@pytest.mark.parametrize("said", ["我不冷给您退", "窝不能给您退", "没半法给您", "媒办法给您", "我不楞"])
def test_what_only_sounds_alike_is_suspected(cannot: Bench, said: str) -> None:
    result = cannot.say(f"a: {said}")
    assert [finding.status for finding in result.findings] == ["suspected"]
    assert result.findings[0].how == "pinyin"
    assert result.outcome == "pass"


@pytest.mark.parametrize("said", ["我可以退", "谢您", "我部门", "给您退", "你能"])
def test_what_is_not_there_is_not_found(cannot: Bench, said: str) -> None:
    assert cannot.found(f"a: {said}") == []


def test_the_end_of_a_sentence_parts_a_forbidden_phrase(cannot: Bench) -> None:
    assert cannot.found("a: 是我。不能退的那件是他的") == []
    assert cannot.found("a: 是我，不能退") == ["我，不能"]


def test_exact_means_the_characters_as_received(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{phrase: [我不能, AbC], tolerance: exact}]")
    assert bench.found("a: 我不能", "a: 我，不能", "a: AbC", "a: abc") == ["我不能", "AbC"]


def test_english_words_stand_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{phrase: [I can't, no way]}]", language="en")
    said = ["a: I can't do that", "a: I can’t", "a: Naomi cantered", "a: i, um, can't help", "a: no Wayne", "a: No way."]
    assert bench.found(*said) == ["I can't", "I can’t", "i, um, can't", "No way"]


def test_confusions_of_mandarin_recognisers_fold_together() -> None:
    for one, other in [("zhi", "zi"), ("chi", "ci"), ("shi", "si"), ("nan", "lan"), ("hui", "fei"), ("fang", "huang"), ("ling", "lin"), ("neng", "len"), ("bang", "ban")]:
        assert folded(one) == folded(other)
    for one, other in [("ma", "na"), ("dong", "dou"), ("xi", "si"), ("lu", "lv")]:
        assert folded(one) != folded(other)


def test_a_heteronym_sounds_as_in_its_phrase_and_by_itself() -> None:
    assert len(readings("我办不了", fold("我办不了", "zh"))) > 1
    assert readings("不能", fold("不能", "zh")) == ()  # too short to be told by sound
    assert readings("办VIP卡", fold("办VIP卡", "zh")) == ()


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [("24小时", {"24小时", "2十4小时"}), ("十五天", {"十5天", "15天"}), ("一百零五块", {"1百05块", "105块"}), ("一下", {"1下"})],
)
def test_numbers_as_read_and_as_written(phrase: str, forms: set[str]) -> None:
    assert set(number_forms(fold(phrase, "zh"))) == forms


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("没.{0,3}办法", {"办法"}),
        ("(没门|没戏)吧?", {"没门", "没戏", "没门吧", "没戏吧"}),
        ("(没门|没戏)吧?.{3}", {"没门", "没戏"}),
        ("[0-9]+(元|块).", {f"{digit}{unit}" for digit in "0123456789" for unit in "元块"}),
        ("[他她]说", {"他说", "她说"}),
        ("办(不了|不成)+", {"办不了", "办不成"}),
        ("(我|这边).*(不能|没法)退", {"不能退", "没法退"}),
        ("办(得了|.了)?吧", {"办"}),
        ("^喂.", {"\n 喂"}),
        (".(好的?)$", {"好 \n", "好的 \n"}),
        ("a?.*", None),
        ("(?i)abc", None),
        ("(没门|.)", None),
    ],
)
def test_a_pattern_names_the_words_it_needs(pattern: str, words: set[str] | None) -> None:
    found = required_literals(pattern)
    assert (None if found is None else set(found)) == words


# --- hypothesis --------------------------------------------------------------------------------------------

mixed = st.text(alphabet=st.sampled_from("我不能退没办法给您谢 ，。呃那个一二24Ａａ①㎡\n“”\ud83d\U0001f600\U00020000é"), max_size=24)
phrases = st.text(alphabet=st.sampled_from("我不能退没办法给您谢一2a"), min_size=1, max_size=5)


@given(st.lists(st.text(max_size=20) | mixed, max_size=6), st.sampled_from(["zh", "en"]))
@settings(max_examples=300, deadline=None)
def test_views_lead_back_to_the_received_text(texts: list[str], language: str) -> None:
    view = views(texts, language)
    assert len(view.plain) == len(view.text)
    assert len(view.offsets) == len(view.compact)
    assert view.offsets.tolist() == sorted(set(view.offsets))
    for text, start, end in zip(texts, view.starts, view.ends, strict=True):
        assert view.text[start:end] == text


@given(st.lists(mixed, min_size=1, max_size=5), st.lists(phrases, min_size=1, max_size=4), st.sampled_from(list(Tolerance)))
@settings(max_examples=400, deadline=None)
def test_every_hit_lies_in_one_turn_and_every_phrase_said_is_found(texts: list[str], words: list[str], tolerance: Tolerance) -> None:
    matcher = Matcher("zh", LEXICON["fillers"])
    atoms = [matcher.add([word], tolerance) for word in words]
    view = views(texts, "zh")
    found: dict[int, list] = defaultdict(list)
    matcher.scan(view, [0] * len(texts), [found])
    for hits in found.values():
        for start, end, _ in hits:
            assert any(lo <= start < end <= hi for lo, hi in zip(view.starts, view.ends, strict=True))
    for word, atom in zip(words, atoms, strict=True):
        for text, lo in zip(texts, view.starts, strict=True):
            at = text.find(word)
            if at >= 0:
                assert (lo + at, lo + at + len(word), 0) in found[atom]
        if tolerance is Tolerance.VARIANTS:
            said = any(fold(word, "zh") in fold(text, "zh") for text in texts)
            assert not said or found[atom]


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_clauses_and_sentences_cover_a_text(text: str) -> None:
    grammar = Grammar("zh", LEXICON)
    for pieces in (grammar.clauses(text), grammar.sentences(text)):
        assert "".join(text[lo:hi] for lo, hi in pieces) == text
        assert all(lo < hi for lo, hi in pieces) or pieces == [(0, 0)]


turn_texts = st.lists(st.text(alphabet="甲乙丙丁一二，", max_size=12), min_size=1, max_size=12)
pattern_parts = st.lists(st.sampled_from(["甲乙", "丙", "甲[一二]丁", "(?:乙|丙)一?丁", "丁.{0,2}甲", "^一", "二$"]), min_size=1, max_size=3)


@given(turn_texts, st.lists(pattern_parts, min_size=1, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
def test_patterns_are_found_as_by_trying_each_on_each_turn(texts: list[str], alternatives: list[list[str]], data: st.DataObject) -> None:
    import re

    roles = data.draw(st.lists(st.sampled_from(["agent", "customer"]), min_size=len(texts), max_size=len(texts)))
    calls = sorted(data.draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts))))
    asked = data.draw(st.lists(st.sampled_from(["agent", "customer", "any"]), min_size=len(alternatives), max_size=len(alternatives)))
    patterns = Patterns()
    for atom, (parts, role) in enumerate(zip(alternatives, asked, strict=True)):
        patterns.add(atom, "|".join(parts), (role,))
    view = views(texts, "zh")
    found: list[dict[int, list]] = [defaultdict(list) for _ in range(3)]
    tries = patterns.scan(view, [ROLE_BITS[role] for role in roles], calls, found)
    looks = data.draw(st.lists(st.tuples(st.integers(0, len(texts) - 1), st.integers(0, len(texts) - 1))))
    for atom, (parts, role) in enumerate(zip(alternatives, asked, strict=True)):
        for call in range(3):
            own = [n for n in range(len(texts)) if calls[n] == call and role in ("any", roles[n])]
            # asked for piece by piece, in any order and more than once; at last for all turns
            for first, last in [*looks, (0, len(texts) - 1)]:
                area = tuple((view.starts[n], view.ends[n]) for n in range(first, last + 1))
                if atom in tries.left[call]:
                    tries.run(call, atom, area, found[call][atom])
                for n in own:
                    for start, end in [match.span() for part in parts for match in re.finditer(part, texts[n])] if first <= n <= last else ():
                        place = view.starts[n] + start
                        assert any(low <= place < high for low, high, _ in found[call][atom]) or start == end
            assert atom not in tries.left[call] or not any(turn in own for turn, _ in tries.left[call][atom])
            # each alternative is looked for by itself, so one may begin inside another's hit; none is lost
            covered = {place for start, end, _ in found[call][atom] for place in range(start, end)}
            wanted = {
                view.starts[n] + place
                for n in own
                for match in re.finditer("|".join(parts), texts[n])
                for place in range(match.start(), match.end())
            }
            assert wanted <= covered
            assert found[call][atom] == sorted(found[call][atom])
            for start, end, _ in found[call][atom]:
                assert any(view.starts[n] <= start < end <= view.ends[n] for n in own)
                assert any(re.fullmatch(part.strip("^$"), view.plain[start:end]) for part in parts)


regions = st.lists(st.integers(0, 40), max_size=12, unique=True).map(
    lambda points: tuple(zip(sorted(points)[0::2], sorted(points)[1::2], strict=False))
)


@given(regions, regions)
def test_regions_meet_and_join_as_sets_of_places_do(one: Region, other: Region):
    def places(region: Region) -> set[int]:
        return {place for low, high in region for place in range(low, high)}

    for found, wanted in ((common(one, other), places(one) & places(other)), (joined([one, other]), places(one) | places(other))):
        assert places(found) == wanted
        assert list(found) == sorted(found)
        assert all(low < high for low, high in found)
        assert all(before[1] <= after[0] for before, after in pairwise(found))
