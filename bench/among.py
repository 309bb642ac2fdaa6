"""Puts a labelled turn among ordinary talk: agents seldom say a fault alone, and the data around it are no excuse for it.

Most training turns are short. A reader that had seen few others took an order's data, read out before a bare refusal, for
its reason (bench/README.md).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

Turns = list[tuple[str | None, str]]

SHORTEST, LONGEST = 7, 30  # characters of what is put around
ENOUGH = 45  # characters: a turn as long as that has its own surroundings
AFTER = 0.35  # share of turns with something after them, too
# A reason, an offer, a promise or a hard word might excuse the turn or be a fault of its own.
TELLING = re.compile(
    "我|不|没|别|难|能|可以|行|帮|给|替|因为|由于|所以|原因|才|要么|要不|或者|建议|先|换|退|补|赔|转|派|催|查|约|改|送|免|保证|一定|肯定|放心|"
    "应该|可能|大概|估计|抱歉|对不起|不好意思|理解|但|只是|可是|不过|毕竟|规定|政策|系统|流程|坏|故障|停|满|缺|晚|延|堵|修|谁|怎么|干嘛|自己"
)
CLOSINGS = (
    "您看还有别的需要吗", "请您谅解", "给您带来不便了", "感谢您的来电", "您还有别的问题吗", "您这边知道一下", "跟您说一声", "您稍微留意一下",
    "情况就是这么个情况", "您看好吧", "好吧先生", "好吗女士", "祝您生活愉快", "您多担待", "我跟您说清楚了哈",
)  # fmt: skip


def ordinary(cases: Sequence[dict]) -> list[str]:
    """Agents' clean turns that tell, ask or confirm something and neither excuse nor offend."""
    found = {
        turn["text"].strip("。，？！ ")
        for case in cases
        if not case["labels"] and not case.get("arguable")
        for turn in case["turns"]
        if turn.get("here") and SHORTEST <= len(turn["text"]) <= LONGEST and not TELLING.search(turn["text"])
    }
    return sorted(found)


def among(turns: Turns, number: int, talk: Sequence[str], rng: random.Random) -> Turns:
    """The turns with ordinary talk before turn `number`, and sometimes after it."""
    role, text = turns[number]
    if len(text) > ENOUGH:
        return turns
    marked = bool(re.search("[，。？！]", text))
    joint, stop = ("，", "。") if marked else (" ", " ")
    before = joint.join(rng.sample(talk, rng.choice((1, 1, 2)))) + rng.choice((joint, stop))
    closing = rng.choice(CLOSINGS) if rng.random() < AFTER / 2 else ""
    after = closing or (rng.choice(talk) if rng.random() < AFTER / 2 else "")
    whole = before + text + (rng.choice((joint, stop)) if after and text[-1:] not in "，。？！ " else "") + after
    return [*turns[:number], (role, whole), *turns[number + 1 :]]
