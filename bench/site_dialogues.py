"""Dialogues for a big made-up site: lines of the project's own texts, put together at random, with slots that differ
from call to call.

A slot is filled with another text of the same length, so that what was found in a dialogue stands where it stood. The
slots give the words that occur in few calls: names, order numbers, towns and goods.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from speech.acoustics import measure_turns
from speech.types import Emotion, Role, RoleGuess, Transcript, Turn, Voice, Word

ROOT = Path(__file__).parents[1]
A, C = Role.AGENT, Role.CUSTOMER
SHORT = {"a": A, "c": C}
SECONDS_A_CHARACTER = 0.22
FAULTY = 0.25  # of the dialogues hold a stretch with a fault
SUREST, DOUBTFUL_SHARE = 0.97, 0.06  # of the words are doubtful
WORD_LENGTH = 2  # characters of most words
LONG_HURRY = 0.26  # 3,000 turns in an hour

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红健宁波辉建国春梅雪晨佳欣宇浩然思雨嘉怡子涵梓萱俊泽"
TOWN_NAMES = """
杭州 苏州 宁波 温州 无锡 常州 南通 徐州 合肥 芜湖 福州 厦门 泉州 南昌 赣州 济南 青岛 烟台 潍坊 郑州
洛阳 武汉 宜昌 襄阳 长沙 株洲 广州 深圳 佛山 东莞 惠州 珠海 南宁 柳州 桂林 海口 三亚 成都 绵阳 贵阳
遵义 昆明 大理 西安 宝鸡 兰州 天水 西宁 银川 太原 大同 石家庄 保定 唐山 沈阳 大连 长春 吉林
"""
TOWNS = TOWN_NAMES.split()
GOODS_NAMES = """
冰箱 空调 洗衣机 电饭煲 热水器 扫地机 净水器 烤箱 微波炉 电视 手机 平板 耳机 音箱 相机 打印机 路由器 台灯 沙发 床垫
书桌 衣柜 餐椅 窗帘 地毯 雨伞 背包 跑鞋 外套 羽绒服 奶粉 纸尿裤 猫粮 咖啡 茶叶 大米 牛奶 面膜 洗发水 牙刷
"""
GOODS = GOODS_NAMES.split()
DIGITS = "零一二三四五六七八九"

SLOTTED = (
    ((C, "我姓{name}，上个月在你们那儿买的{goods}，到现在还没有送到{town}。"), (A, "好的，请您稍等，我来帮您查一下。"),
     (C, "订单尾号是{four}。"), (A, "查到了，这一单{goods}昨天已经到{town}的站点，今天下午给您送。")),
    ((C, "请问{goods}的保修期是多久？"), (A, "{goods}是整机一年，主要部件三年。"), (C, "在{town}有没有维修点？"),
     (A, "有的，{town}有两家，我把地址发给您。")),
    ((A, "麻烦您核对一下收货人，是{name}先生吗？"), (C, "对，我就是{name}。"),
     (A, "好的，手机尾号{four}，地址是{town}，对吗？"), (C, "对的。")),
    ((C, "我想把{goods}换成大一号的。"), (A, "可以的，换货不收运费，我这边给您登记，受理号{four}。"), (C, "好，大概几天？"),
     (A, "{town}一般三天。")),
    ((C, "上次是你们的{name}给我处理的，说好给我回电话。"), (A, "我看到{name}的记录了，让您久等了，非常抱歉。"),
     (C, "那现在怎么办？"), (A, "我现在就帮您跟进，今天下午六点前给您答复。")),
)  # fmt: skip
OPENINGS = (
    "您好，很高兴为您服务，请问有什么可以帮您？", "您好，感谢致电，我是客服{name}，请问有什么可以帮您？",
    "您好，这里是云帆客服，请问有什么可以帮您？", "您好，请讲。", "喂，您好。",
)  # fmt: skip
CLOSINGS = (
    ((A, "请问还有其他可以帮您的吗？"), (C, "没有了，谢谢你。"), (A, "不客气，感谢您的来电，祝您生活愉快，再见。")),
    ((C, "行，那就这样吧。"), (A, "好的，感谢您的来电，祝您生活愉快。")),
    ((C, "好，谢谢。"), (A, "不客气，再见。")),
    ((C, "算了，我不跟你说了。"),),
)  # fmt: skip
MOODS = ("neutral",) * 17 + ("anxious", "happy", "happy")
BAD_MOODS = ("neutral", "neutral", "angry", "angry", "anxious")

Line = tuple[Role, str, str]  # role, text with slots, the customer's mood


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A transcript with its slots filled once, and its slots: (turn, first character, length, name)."""

    transcript: Transcript
    slots: tuple[tuple[int, int, int, str], ...]


def compose(count: int, mean_turns: float, rng: random.Random) -> list[Dialogue]:
    """Dialogues of 6 to some 150 turns, most of them short, as many turns on average as wanted (about)."""
    found = []
    for number in range(count):
        length = max(6, round(mean_turns * rng.lognormvariate(-0.18, 0.6)))
        found.append(_spoken(f"dialogue-{number}", _lines(length, rng), rng))
    return found


def long_dialogue(turns: int, rng: random.Random) -> Dialogue:
    return _spoken("long", _lines(turns, rng), rng, hurry=LONG_HURRY)


def _lines(length: int, rng: random.Random) -> list[Line]:
    faulty = rng.random() < FAULTY
    opening = OPENINGS[0 if rng.random() < 0.4 else rng.randrange(len(OPENINGS))]
    closing = CLOSINGS[0 if rng.random() < 0.4 else rng.randrange(len(CLOSINGS))]
    lines: list[Line] = [(A, opening, "neutral")]
    plain, faults = _plain(), _faults()
    bad_from = rng.randrange(1, max(2, length - 6)) if faulty else None
    while len(lines) < length - len(closing):
        if bad_from is not None and len(lines) >= bad_from:
            lines += [(role, text, rng.choice(BAD_MOODS)) for role, text in rng.choice(faults)]
            bad_from = None
            continue
        chunk = rng.choice(SLOTTED) if rng.random() < 0.4 else rng.choice(plain)
        lines += [(role, text, rng.choice(MOODS)) for role, text in chunk]
    del lines[length - len(closing) :]
    mood = "angry" if faulty and rng.random() < 0.3 else "neutral"
    return [*lines, *((role, text, mood) for role, text in closing)]


@cache
def _plain() -> Sequence[Sequence[tuple[Role, str]]]:
    return [
        [(SHORT[speaker], text) for speaker, text in case["turns"]]
        for path in ("bench/training/kinds/dialogues.jsonl", "tests/data/kinds.jsonl")
        for case in _cases(path)
    ]


@cache
def _faults() -> Sequence[Sequence[tuple[Role, str]]]:
    return [
        [(Role(turn["role"]), turn["text"]) for turn in case["turns"]]
        for case in _cases("tests/language/tune.jsonl")
        if case["expect"] == "confirmed"
    ]


def _cases(path: str) -> Iterable[dict]:
    return map(json.loads, (ROOT / path).read_text("utf-8").splitlines())


# --- slots -----------------------------------------------------------------------------------------------------


def _sized(pool: Sequence[str]) -> dict[int, list[str]]:
    return {length: [one for one in pool if len(one) == length] for length in set(map(len, pool))}


TOWNS_OF, GOODS_OF = _sized(TOWNS), _sized(GOODS)  # by length
FILL: dict[str, Callable[[random.Random, int], str]] = {  # a text of so many characters
    "name": lambda rng, length: rng.choice(SURNAMES) + "".join(rng.choices(GIVEN, k=length - 1)),
    "town": lambda rng, length: rng.choice(TOWNS_OF[length]),
    "goods": lambda rng, length: rng.choice(GOODS_OF[length]),
    "four": lambda rng, length: "".join(rng.choices(DIGITS, k=length)),
}
LENGTHS = {"name": (2, 3, 3), "town": (2, 2, 2, 3), "goods": (2, 2, 3), "four": (4,)}


def fill(text: str, slots: Iterable[tuple[int, int, str]], rng: random.Random) -> str:
    """The text with its slots (first character, length, name) filled anew; one name means one thing in a turn."""
    chosen: dict[tuple[str, int], str] = {}
    for first, length, name in slots:
        value = chosen.get((name, length))
        if value is None:
            value = chosen[name, length] = FILL[name](rng, length)
        text = text[:first] + value + text[first + length :]
    return text


def _with_slots(text: str, rng: random.Random) -> tuple[str, list[tuple[int, int, str]]]:
    made, slots, chosen = "", [], {}
    for piece in text.replace("}", "{").split("{"):
        if piece in FILL:
            value = chosen.setdefault(piece, FILL[piece](rng, rng.choice(LENGTHS[piece])))
            slots.append((len(made), len(value), piece))
            made += value
        else:
            made += piece
    return made, slots


# --- speaking --------------------------------------------------------------------------------------------------


def _spoken(name: str, lines: Sequence[Line], rng: random.Random, hurry: float = 1.0) -> Dialogue:
    """The lines spoken one after the other with pauses, on two channels."""
    turns, slots, at = [], [], 0.4
    for number, (role, line, mood) in enumerate(lines):
        text, places = _with_slots(line, rng)
        slots += [(number, *place) for place in places]
        words = _words(text, at, rng, hurry)
        end = words[-1].end
        turns.append(
            Turn(
                speaker="channel0" if role is A else "channel1",
                text=text,
                start=at,
                end=end,
                words=words,
                role=role,
                emotion=Emotion(mood, round(rng.uniform(0.5, 0.99), 3)) if role is C else None,
                voice=Voice(round(rng.uniform(-32, -18), 1), round(rng.uniform(110, 260), 1)),
            )
        )
        pause = rng.uniform(0.2, 1.0) if rng.random() > 0.02 else rng.uniform(5, 25)
        at = end + pause * hurry
    duration = at + 0.5
    roles = {"channel0": RoleGuess(A, 0.98, "channel"), "channel1": RoleGuess(C, 0.98, "channel")}
    transcript = Transcript(
        name, "zh", tuple(turns), duration, roles=roles, acoustics=measure_turns(turns, duration),
        fingerprints={stage: f"{stage}-bench" for stage in ("decode", "recognise", "emotion")},
    )  # fmt: skip
    return Dialogue(transcript, tuple(slots))


def _words(text: str, start: float, rng: random.Random, hurry: float) -> tuple[Word, ...]:
    words, at, place = [], start, 0
    while place < len(text):
        piece = text[place : place + (WORD_LENGTH if rng.random() < 0.7 else 1)]
        end = at + len(piece) * SECONDS_A_CHARACTER * hurry
        probability = rng.uniform(0.2, 0.5) if rng.random() < DOUBTFUL_SHARE else rng.uniform(0.6, SUREST)
        words.append(Word(piece, round(at, 3), round(end, 3), round(probability, 4)))
        at, place = end, place + len(piece)
    return tuple(words)
