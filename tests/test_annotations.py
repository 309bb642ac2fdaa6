"""Comments, marks and drafts on calls: who writes them, what stands of them, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from appsite import AppSite, build, transcript
from sqlalchemy import select

from qa.access import AccessDenied, Identity, Role
from qa.comments import NothingWritten, comment, comments_of, withdraw_comment
from qa.drafts import drafts_of, forget_draft, save_draft
from qa.marks import Kind, mark, marks_of, withdraw_mark
from qa.store.annotations import Comment, Mark
from qa.store.schema import AuditEvent

INSPECTOR = Identity("i", "i", Role.INSPECTOR)
OTHER = Identity("j", "j", Role.INSPECTOR)
LEAD = Identity("l", "l", Role.LEAD, teams=("north",))
TRAINER = Identity("t", "t", Role.TRAINER)
STRANGERS = [
    Identity("a", "a", Role.AGENT, agent="A1"),
    Identity("s", "s", Role.LEAD, teams=("south",)),
    Identity("o", "o", Role.OPERATOR),
    Identity("r", "r", Role.ADMIN),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def said(site: AppSite, person: Identity = INSPECTOR):
    with site.store.read() as session:
        return [(one.who, one.role, one.turn, one.text) for one in comments_of(session, person, "refund")]


def test_comments_stand_by_their_turn_until_withdrawn(site: AppSite):
    first = comment(site.store, INSPECTOR, "refund", 1, "  客户等了两周 ")
    comment(site.store, TRAINER, "refund", 2, "可以做案例")
    assert said(site) == [("i", "inspector", 1, "客户等了两周"), ("t", "trainer", 2, "可以做案例")]
    with pytest.raises(AccessDenied):
        withdraw_comment(site.store, LEAD, first)
    withdraw_comment(site.store, INSPECTOR, first)
    assert said(site) == [("t", "trainer", 2, "可以做案例")]
    with site.store.read() as session:
        rows = session.scalars(select(Comment).order_by(Comment.id)).all()
        assert [(row.text, row.withdraws) for row in rows] == [("客户等了两周", None), ("可以做案例", None), ("", first)]
        assert rows[0].start == transcript("refund").turns[1].start
        actions = [row.action for row in session.scalars(select(AuditEvent).order_by(AuditEvent.id)) if "comment" in row.action]
    assert actions == ["comment", "comment", "comment withdrawn"]


def test_agents_see_no_comments(site: AppSite):
    comment(site.store, INSPECTOR, "refund", 1, "客户等了两周")
    assert said(site, STRANGERS[0]) == []


def test_an_empty_comment_and_a_turn_that_is_not_there(site: AppSite):
    with pytest.raises(NothingWritten):
        comment(site.store, INSPECTOR, "refund", 1, " \n ")
    with pytest.raises(KeyError):
        comment(site.store, INSPECTOR, "refund", 99, "x")


def test_marks_hold_turns_and_seconds_for_the_library(site: AppSite):
    whole = mark(site.store, LEAD, "refund", Kind.BAD, note="全程推诿")
    mark(site.store, TRAINER, "refund", Kind.GOOD, (0, 1))
    turns = transcript("refund").turns
    with site.store.read() as session:
        bad, good = marks_of(session, "refund", "thanks")
    assert (bad.kind, bad.first_turn, bad.start, bad.note) == ("bad", None, None, "全程推诿")
    assert (good.kind, good.first_turn, good.last_turn, good.start, good.end) == (
        "good", 0, 1, turns[0].start, turns[1].end,
    )  # fmt: skip
    with pytest.raises(AccessDenied):
        withdraw_mark(site.store, TRAINER, whole)
    withdraw_mark(site.store, LEAD, whole)
    with site.store.read() as session:
        assert [one.kind for one in marks_of(session, "refund")] == ["good"]
        assert session.scalars(select(Mark).order_by(Mark.id.desc())).first().withdraws == whole
    for turns in ((1, 0), (0, 99)):
        with pytest.raises((ValueError, KeyError)):
            mark(site.store, LEAD, "refund", Kind.BAD, turns)


def test_a_draft_is_kept_for_its_writer_and_goes_when_sent(site: AppSite):
    save_draft(site.store, INSPECTOR, "refund", "comment:1", "客户")
    save_draft(site.store, INSPECTOR, "refund", "comment:1", "客户等了")
    save_draft(site.store, OTHER, "refund", "comment:1", "别人的")
    save_draft(site.store, INSPECTOR, "refund", "add:2", "漏")
    with site.store.read() as session:
        assert drafts_of(session, INSPECTOR, "refund") == {"comment:1": "客户等了", "add:2": "漏"}
    save_draft(site.store, INSPECTOR, "refund", "add:2", "  ")
    with site.store.write() as session:
        forget_draft(session, INSPECTOR, "refund", "comment:1")
    with site.store.read() as session:
        assert drafts_of(session, INSPECTOR, "refund") == {}
        assert drafts_of(session, OTHER, "refund") == {"comment:1": "别人的"}
    for field in ("", "x" * 101):
        with pytest.raises(ValueError, match=field or "^$"):
            save_draft(site.store, INSPECTOR, "refund", field, "x")


@pytest.mark.parametrize("person", STRANGERS, ids=lambda person: person.role.value)
def test_who_may_neither_judge_nor_coach_writes_nothing(site: AppSite, person: Identity):
    for act in (
        lambda: comment(site.store, person, "refund", 0, "x"),
        lambda: mark(site.store, person, "refund", Kind.GOOD),
        lambda: save_draft(site.store, person, "refund", "comment:0", "x"),
    ):
        with pytest.raises(AccessDenied):
            act()
