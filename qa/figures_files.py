"""The board's tables as files, XLSX and CSV, and the route that hands them out: by right, and written down.

Agents stand under their numbers; numbers that are certainly personal are masked. Column names in CSV stay the same in
every language.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from qa.access import AccessDenied, Identity, Right, require
from qa.call_filter import FilterError
from qa.desk import Desk
from qa.export import FORMULA_STARTS
from qa.figures import Board, Group, Scope, Share, board
from qa.messages import LANGUAGES, in_language, text
from qa.redact import mask_identifier
from qa.reviewed import Result, catch_up
from qa.store.engine import Store
from qa.store.figures import FATAL_BITS
from qa.store.queries import audit
from scoring_rules.messages import pick

PRIVATE = {"Cache-Control": "private, no-store"}
GROUP_COLUMNS = (
    "of", "name", "calls", "few_calls", "mean_score", "mean_score_low", "mean_score_high", "below_passing",
    "errors", "opportunities", "non_fatal_accuracy", "non_fatal_low", "non_fatal_high",
    "customer_critical_calls", "customer_critical_accuracy", "customer_critical_low", "customer_critical_high",
    "business_critical_calls", "business_critical_accuracy", "business_critical_low", "business_critical_high",
    "compliance_critical_calls", "compliance_critical_accuracy", "compliance_critical_low", "compliance_critical_high",
    "result",
)  # fmt: skip
ITEM_COLUMNS = ("rule", "name", "class", "failed", "judged", "fail_rate", "low", "high", "cumulative_share", "result")
BAR_COLUMNS = ("score_from", "score_to", "calls", "result")
Table = tuple[Sequence[str], list[Sequence[Any]]]  # column names, rows


def tables(found: Board, names: Mapping[str, str], result: Result) -> dict[str, Table]:
    """The board as tables: `groups`, `items`, `distribution`. `names` are those of the rules; every row says by which
    result it is counted.
    """
    return {
        "groups": (GROUP_COLUMNS, [(*row, result.value) for row in _groups(found)]),
        "items": (
            ITEM_COLUMNS,
            [
                (item.rule, names.get(item.rule, ""), item.fault_class, item.failed, item.judged,
                 *_share(item.rate), item.cumulative, result.value)
                for item in found.items
            ],
        ),
        "distribution": (BAR_COLUMNS, [(bar.low, bar.high, bar.calls, result.value) for bar in found.bars]),
    }  # fmt: skip


def _groups(found: Board) -> Iterator[Sequence[Any]]:
    kinds = (
        ("total", (Group(None, found.total),)), ("team", found.teams), ("agent", found.agents),
        ("week", found.weeks), ("day", found.days),
    )  # fmt: skip
    for kind, groups in kinds:
        for group in groups:
            sums = group.sums
            fatal = [
                value
                for name in FATAL_BITS
                for value in (getattr(sums, name.removesuffix("-critical")), *_share(sums.fatal(name)))
            ]
            name = "" if group.name is None else mask_identifier(str(group.name))
            yield (
                kind, name, sums.calls, int(sums.few), *_share(sums.mean_score), sums.below,
                sums.errors, sums.opportunities, *_share(sums.non_fatal), *fatal,
            )  # fmt: skip


def _share(share: Share) -> tuple[float | None, float | None, float | None]:
    return _rounded(share.value), _rounded(share.low), _rounded(share.high)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def as_csv(table: Table) -> bytes:
    """UTF-8 with a mark, so that spreadsheets read Chinese."""
    columns, rows = table
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _plain(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def as_xlsx(found: Mapping[str, Table]) -> bytes:
    """One sheet a table, headings in the language in force."""
    import xlsxwriter

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, options) as book:
        bold = book.add_format({"bold": True})
        for name, (columns, rows) in found.items():
            sheet = book.add_worksheet(text(f"board.table_{name}"))
            sheet.freeze_panes(1, 0)
            sheet.write_row(0, 0, [text(f"board.heading_{column}") for column in columns], bold)
            for place, row in enumerate(rows, start=1):
                sheet.write_row(place, 0, ["" if value is None else value for value in row])
            sheet.autofit()
    return out.getvalue()


def note_export(store: Store, identity: Identity, scope: Scope, form: str, what: str) -> None:
    """Write down that somebody takes figures out, as a file or a picture. Raises AccessDenied."""
    require(identity, Right.EXPORT)
    with store.write() as session:
        audit(session, identity.login, "export board", form=form, what=what, filter=scope.to_address())


def routes(desk: Desk) -> list[Route]:
    """`/api/board/groups.csv`, `items.csv`, `distribution.csv`, `board.xlsx`, with the filter as query."""

    async def table(request: Request) -> Response:
        return await run_in_threadpool(_answer, desk, request)

    return [Route("/api/board/{name}.{form}", table, methods=["GET"])]


def _answer(desk: Desk, request: Request) -> Response:
    name, form = request.path_params["name"], request.path_params["form"]
    language = request.query_params.get("lang", "")
    if (name, form) not in {("board", "xlsx"), ("groups", "csv"), ("items", "csv"), ("distribution", "csv")}:
        return PlainTextResponse("no such table", HTTPStatus.NOT_FOUND, headers=PRIVATE)
    if language not in LANGUAGES:
        language = desk.settings.site.language[:2]
    try:
        scope = Scope.from_address(request.query_params)
        note_export(desk.store, request.state.identity, scope, form, name)
        if scope.result is Result.REVIEWED:
            catch_up(desk.store, desk.pack)
        found = board(desk.store, request.state.identity, scope, desk.site, Right.EXPORT)
    except AccessDenied:
        return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN, headers=PRIVATE)
    except FilterError as error:
        return PlainTextResponse(f"no such filter: {error}", HTTPStatus.BAD_REQUEST, headers=PRIVATE)
    made = tables(found, {rule.id: pick(rule.name, language) for rule in desk.pack.rules}, scope.result)
    with in_language(language):
        body = as_xlsx(made) if form == "xlsx" else as_csv(made[name])
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" if form == "xlsx" else "text/csv"
    disposition = f'attachment; filename="huiting-{name}.{form}"'
    return Response(body, media_type=kind, headers={**PRIVATE, "Content-Disposition": disposition})
