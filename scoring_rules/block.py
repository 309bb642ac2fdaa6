"""Conversations of one language on one axis of characters, scanned together: what costs by the step is paid once for all.

    BREAK turn BREAK turn BREAK … one view (scoring_rules.text) of all turns; call `n` holds the turns firsts[n]..firsts[n+1]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from scoring_rules.conversation import Conversation
from scoring_rules.grammar import Grammar, Interval
from scoring_rules.match import Found, Matcher
from scoring_rules.patterns import OTHER_BIT, ROLE_BITS, Patterns
from scoring_rules.text import views

TURNS = 3000  # of a block: more gains nothing, and memory stays flat


class Block:
    """Scanned on being made. Raises nothing of its own."""

    def __init__(
        self, conversations: Sequence[Conversation], matcher: Matcher, patterns: Patterns, grammar: Grammar
    ) -> None:
        self.conversations, self.language = conversations, matcher.language
        self.grammar = grammar
        self.firsts = [0]
        for conversation in conversations:
            self.firsts.append(self.firsts[-1] + len(conversation.turns))
        turns = [turn for conversation in conversations for turn in conversation.turns]
        self.view = views([turn.text for turn in turns], matcher.language)
        self.roles = [None if turn.role is None else str(turn.role) for turn in turns]
        self.calls = [n for n in range(len(conversations)) for _ in conversations[n].turns]  # of each turn
        self.found: list[dict[int, list[Found]]] = [defaultdict(list) for _ in conversations]  # by call and atom
        matcher.scan(self.view, self.calls, self.found)
        bits = [OTHER_BIT if role is None else ROLE_BITS.get(role, OTHER_BIT) for role in self.roles]
        self.tries = patterns.scan(self.view, bits, self.calls, self.found)
        self.wanted: dict[str, None] = {}  # texts whose embedding is asked for
        self.memory: dict[object, object] = {}  # what is worked out once for all calls
        self._clauses: dict[int, list[Interval]] = {}

    def clauses(self, turn: int) -> list[Interval]:
        """The clauses of a turn of the block, as intervals on the axis."""
        found = self._clauses.get(turn)
        if found is None:
            base = self.view.starts[turn]
            text = self.view.plain[base : self.view.ends[turn]]
            found = self._clauses[turn] = [(lo + base, hi + base) for lo, hi in self.grammar.clauses(text)]
        return found


def blocks(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Conversations in groups of one language and about TURNS turns, in their order."""
    group: list[Conversation] = []
    turns, language = 0, ""
    for conversation in conversations:
        if group and (turns >= TURNS or conversation.language != language):
            yield group
            group, turns = [], 0
        group.append(conversation)
        turns, language = turns + len(conversation.turns), conversation.language
    if group:
        yield group
