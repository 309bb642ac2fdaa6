"""Ordinary talk around a labelled turn (bench/among.py)."""

from __future__ import annotations

import random
from pathlib import Path
from runpy import run_path

from hypothesis import given
from hypothesis import strategies as st

BENCH = run_path(str(Path(__file__).parents[1] / "bench/among.py"))
among, ordinary, ENOUGH = BENCH["among"], BENCH["ordinary"], BENCH["ENOUGH"]
TALK = ["灰的有货，看到了", "单号尾数四四零六 昨晚到的", "周二周四上午出诊，在四楼"]
texts = st.text(alphabet="您退了，。 ", min_size=1, max_size=60)


def case(text: str, **labels: str) -> dict:
    return {"turns": [{"role": "agent", "text": text, "here": True}], "labels": labels}


def test_only_what_neither_excuses_nor_offends_is_ordinary() -> None:
    cases = [case(text) for text in ("单号后四位是三三一零", "因为下雨车还在路上呢", "我给您换个大一点的", "好的")]
    assert ordinary([*cases, case("周二周四在四楼出诊", **{"neg.cannot": "confirmed"})]) == ["单号后四位是三三一零"]


@given(st.lists(st.tuples(st.sampled_from(["agent", "customer"]), texts), min_size=1, max_size=4), st.integers(0, 9), st.integers(0, 99))
def test_a_turn_keeps_its_words_and_its_neighbours(turns: list[tuple[str | None, str]], place: int, seed: int) -> None:
    number = place % len(turns)
    placed = among(turns, number, TALK, random.Random(seed))
    assert [*placed[:number], *placed[number + 1 :]] == [*turns[:number], *turns[number + 1 :]]
    role, text = placed[number]
    assert role == turns[number][0]
    assert turns[number][1] in text
    assert (text == turns[number][1]) == (len(turns[number][1]) > ENOUGH)
    assert any(said in text for said in TALK) or text == turns[number][1]
