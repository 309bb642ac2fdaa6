"""Words to speakers: diarized turns in mono, channels in stereo, bleed, cutting a turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.attribute import attribute, channel_turns, make_turn, split_turn
from speech.types import Mark, Span, Turn, Word


def words(text: str, start: float, step: float = 0.2, shift: float = 0.0) -> list[Word]:
    """One word a character; a punctuation mark sticks to the character before it, as recognisers write it."""
    result: list[Word] = []
    at = start
    for character in text:
        if character in "，。？！" and result:
            last = result[-1]
            result[-1] = Word(last.text + character, last.start, last.end, last.probability)
            continue
        result.append(Word(character, at + shift, at + step + shift, 0.9))
        at += step
    return result


def told(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in turns]


# -- mono ---------------------------------------------------------------------------------------------------------


def test_words_go_to_the_speaker_of_their_turn():
    said = words("您好请讲。", 0) + words("我要退货。", 1.4)
    assert told(attribute(said, [(Span(0, 1.2), "S1"), (Span(1.4, 2.4), "S2")])) == [("S1", "您好请讲。"), ("S2", "我要退货。")]


@pytest.mark.parametrize("shift", [-0.45, -0.3, 0.3, 0.45])
def test_words_at_the_edge_stay_with_their_sentence(shift):
    said = words("请问您要办什么？", 0, shift=shift) + words("我想退一张票。", 1.4, shift=shift)
    turns = [(Span(0, 1.4), "S1"), (Span(1.4, 2.8), "S2")]
    assert told(attribute(said, turns)) == [("S1", "请问您要办什么？"), ("S2", "我想退一张票。")]


def test_a_short_answer_between_two_sentences_is_kept():
    said = words("您是本人吗？", 0) + words("对。", 1.2) + words("好的我看一下。", 1.5)
    turns = [(Span(0, 1.15), "S1"), (Span(1.15, 1.45), "S2"), (Span(1.5, 2.9), "S1")]
    assert told(attribute(said, turns)) == [("S1", "您是本人吗？"), ("S2", "对。"), ("S1", "好的我看一下。")]


def test_a_flicker_of_the_diarization_within_a_clause_is_ignored():
    said = words("我们这边帮您登记一下", 0)
    turns = [(Span(0, 0.9), "S1"), (Span(0.9, 1.2), "S2"), (Span(1.2, 2.0), "S1")]
    assert told(attribute(said, turns)) == [("S1", "我们这边帮您登记一下")]


def test_without_punctuation_the_diarization_decides():
    said = words("您好请讲我要退货", 0)
    assert told(attribute(said, [(Span(0, 0.8), "S1"), (Span(0.8, 1.6), "S2")])) == [("S1", "您好请讲"), ("S2", "我要退货")]


def test_words_outside_every_turn_go_to_the_nearer_speaker():
    said = words("好。", 3.0) + words("那行吧。", 9.0)
    assert told(attribute(said, [(Span(0, 2.8), "S1"), (Span(9.9, 12), "S2")])) == [("S1", "好。"), ("S2", "那行吧。")]


def test_a_long_pause_ends_a_turn():
    said = words("我查一下。", 0) + words("查到了。", 6)
    assert told(attribute(said, [(Span(0, 1), "S1"), (Span(6, 7), "S1")])) == [("S1", "我查一下。"), ("S1", "查到了。")]


def test_no_diarization_is_one_speaker_and_no_words_no_turns():
    assert told(attribute(words("喂。", 0), [])) == [("SPEAKER_00", "喂。")]
    assert attribute([], [(Span(0, 1), "S1")]) == ()
    assert attribute([Word("  ", 0, 1, 0.1)], [(Span(0, 1), "S1")]) == ()


pieces = st.lists(st.tuples(st.text("您好我要退货嗯a b，。？", min_size=1, max_size=4), st.floats(0.05, 0.6), st.floats(0, 1.2)), max_size=25)


@given(pieces, st.lists(st.tuples(st.floats(0.1, 3), st.sampled_from(["S1", "S2", "S3"])), max_size=8))
def test_no_word_is_lost_or_moved(texts, lengths):
    said, at = [], 0.0
    for text, length, gap in texts:
        said.append(Word(text, at + gap, at + gap + length, 0.5))
        at += gap + length
    turns, start = [], 0.0
    for length, speaker in lengths:
        turns.append((Span(start, start + length), speaker))
        start += length
    result = attribute(said, turns)
    assert "".join(w.text for t in result for w in t.words).replace(" ", "") == "".join(w.text for w in said).replace(" ", "")
    for turn in result:
        assert turn.text == "".join(word.text for word in turn.words)
        assert turn.start == turn.words[0].start
        assert turn.end == max(word.end for word in turn.words)


# -- stereo ---------------------------------------------------------------------------------------------------------


def test_channels_become_turns_in_order():
    found = channel_turns({"A": words("您好。", 0) + words("好的我查一下。", 3), "B": words("我的快递呢？", 1)})
    assert told(found) == [("A", "您好。"), ("B", "我的快递呢？"), ("A", "好的我查一下。")]


def test_a_nod_in_a_breath_does_not_cut_a_sentence():
    found = channel_turns({"A": words("我们这边已经", 0) + words("给您登记了。", 1.4), "B": [Word("嗯", 1.25, 1.32, 0.9)]})
    assert told(found) == [("A", "我们这边已经给您登记了。"), ("B", "嗯")]


def test_the_other_sides_talk_in_a_pause_ends_the_turn():
    found = channel_turns({"A": words("您贵姓？", 0) + words("好的张先生。", 1.6), "B": words("姓张。", 0.9)})
    assert told(found) == [("A", "您贵姓？"), ("B", "姓张。"), ("A", "好的张先生。")]


def test_a_pause_in_mid_sentence_is_no_end_but_one_after_a_sentence_is():
    assert len(channel_turns({"A": words("我的单号是", 0) + words("八八二三", 2.1), "B": []})) == 1
    assert len(channel_turns({"A": words("我的快递呢？", 0) + words("单号是八八二三", 2.1), "B": []})) == 2


def test_an_interrupted_speaker_who_goes_on_keeps_one_turn():
    found = channel_turns({"A": words("您先听我说完这件事情", 3), "B": words("我从上个月开始就一直在等你们到现在都没有人来", 0, 0.3)})
    assert [turn.speaker for turn in found] == ["B", "A"]


LOUD = {"A": -20.0, "B": -24.0}


def level(faint: dict[str, float]):
    return lambda speaker, span: LOUD[speaker] - faint.get(speaker, 0.0)


def test_bleed_is_marked_and_kept():
    heard = {"A": words("您好请问有什么可以帮您", 0), "B": words("您好请问有什么可以班您", 0.1) + words("我的快递呢", 4)}
    found = channel_turns(heard, lambda speaker, span: -20.0 if speaker == "A" else (-24.0 if span.start > 3 else -42.0))
    assert [(t.speaker, t.marks) for t in found] == [("A", ()), ("B", (Mark.BLEED,)), ("B", ())]


def test_two_people_who_say_the_same_at_once_are_two_people():
    heard = {"A": words("再见", 0), "B": words("再见", 0.1)}
    assert all(not turn.marks for turn in channel_turns(heard, level({"B": 6.0})))


def test_a_quiet_callers_short_words_are_measured_against_their_own_level():
    heard = {"A": words("好的", 20), "B": words("我要退货", 0) + words("已经三天了", 5) + words("没有人管", 10) + words("好的", 20.1)}
    assert all(not turn.marks for turn in channel_turns(heard, lambda speaker, _: -20.0 if speaker == "A" else -38.0))


def test_other_words_are_no_bleed_however_faint():
    heard = {"A": words("您好请问有什么可以帮您", 0), "B": words("我要退货你快点", 0.1)}
    assert all(not turn.marks for turn in channel_turns(heard, level({"B": 20.0})))


def test_the_same_words_later_are_no_bleed():
    heard = {"A": words("订单号是多少", 0), "B": words("订单号是多少", 4)}
    assert all(not turn.marks for turn in channel_turns(heard, level({"B": 20.0})))


# -- cutting --------------------------------------------------------------------------------------------------------


def test_a_turn_is_cut_with_its_words():
    left, right = split_turn(make_turn("A", words("正在转接。您好请讲。", 0)), 5)
    assert (left.text, right.text) == ("正在转接。", "您好请讲。")
    assert left.end == right.start == pytest.approx(0.8)
    assert "".join(w.text for w in right.words) == right.text


def test_a_cut_within_a_word_cuts_the_word():
    left, right = split_turn(make_turn("A", [Word("正在转接。您好", 0, 1.4, 0.8)]), 5)
    assert [(w.text, w.start, pytest.approx(w.end)) for w in left.words + right.words] == [("正在转接。", 0, 1.0), ("您好", pytest.approx(1.0), 1.4)]


def test_a_turn_without_words_shares_its_time():
    left, right = split_turn(Turn("A", "正在转接。您好请讲。", 0.0, 10.0), 5)
    assert (left.end, right.start, right.end) == (5.0, 5.0, 10.0)
    left, right = split_turn(Turn("A", "正在转接。您好请讲。"), 5)
    assert (left.start, left.end, right.start) == (None, None, None)


def test_edited_text_is_cut_in_proportion():
    turn = Turn("A", "您的话费是50元。请讲。", 0.0, 3.0, tuple(words("您的话费是五十元请讲", 0)))
    left, right = split_turn(turn, 9)
    assert (left.text, right.text) == ("您的话费是50元。", "请讲。")
    assert "".join(w.text for w in left.words + right.words) == "您的话费是五十元请讲"


@pytest.mark.parametrize("at", [0, 4, 9])
def test_an_empty_side_is_refused(at):
    with pytest.raises(ValueError, match="cannot cut"):
        split_turn(Turn("A", "您好请讲"), at)
