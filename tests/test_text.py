"""Script, punctuation, and marks on what a recogniser makes up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from speech.text import bare, close, is_loop, marks, punctuate, to_simplified
from speech.types import Mark, Turn, Word


def words(*texts: str, gap: float = 0.0) -> list[Word]:
    return [Word(text, i * (0.3 + gap), i * (0.3 + gap) + 0.3, 0.9) for i, text in enumerate(texts)]


def test_traditional_becomes_simplified_word_by_word():
    assert to_simplified(["請", "問您", "還有", "什麼問題"]) == ["请", "问您", "还有", "什么问题"]
    assert to_simplified(["这個帐", "单", "写著", "帐篷", "著名"]) == ["这个账", "单", "写着", "帐篷", "著名"]
    assert to_simplified(["ＡＢ", "１２", "好的，"]) == ["AB", "12", "好的，"]


@given(st.lists(st.text(alphabet="請問您還有麼後裡發髮乾幹的是,。1a ", max_size=4), max_size=12))
def test_as_many_words_come_back_as_went_in(given_words):
    out = to_simplified(given_words)
    assert len(out) == len(given_words)
    assert [len(a) for a in out] == [len(a) for a in given_words]


def test_pauses_become_commas_and_stops():
    said = [Word("您好", 0, 0.5, 1), Word("请问", 1.0, 1.4, 1), Word("您贵姓", 1.4, 2.0, 1), Word("我姓周", 4.0, 5.0, 1)]
    assert [w.text for w in punctuate(said)] == ["您好，", "请问", "您贵姓。", "我姓周"]
    assert [w.text for w in punctuate([Word("查到了吗,", 0, 1, 1), Word("好", 1, 2, 1)])] == ["查到了吗，", "好"]


def test_a_turn_ends_with_a_stop_or_a_question_mark():
    def closed(text: str) -> str:
        return close(Turn("A", text, 0, 1, (Word(text, 0, 1, 1.0),))).text

    assert closed("好的") == "好的。"
    assert closed("好的，") == "好的。"
    assert closed("查到了吗") == "查到了吗？"
    assert closed("您贵姓？") == "您贵姓？"
    assert closed("thank you") == "thank you"


def test_marks():
    assert marks("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目") == (Mark.HALLUCINATION,)
    assert marks("我刚才在看你们直播，最后你们说谢谢观看，我就来问问这个优惠到底怎么领") == ()
    assert marks("谢谢观看") == (Mark.HALLUCINATION,)
    assert marks("以下是普通话的句子。") == (Mark.PROMPT_ECHO,)
    assert marks("好的好的好的好的好的好的好的") == (Mark.LOOP,)
    assert marks("对对对对，是的是的") == ()
    assert marks("听不清", [0.1, 0.2, 0.9]) == (Mark.LOW_CONFIDENCE,)
    assert marks("", []) == ()


def test_loops_need_length_and_share():
    assert is_loop("我们" * 20)
    assert not is_loop("我们我们我们")
    assert not is_loop("那个那个那个那个那个我想问一下我上个月的账单为什么比前面几个月多出来这么多钱呢")


@given(st.text(max_size=60))
def test_marks_and_bare_never_raise(text):
    marks(text)
    assert bare(bare(text)) == bare(text)
