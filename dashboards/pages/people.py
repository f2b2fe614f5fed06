"""People and tokens: who may come in, and as what?"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dash.development.base_component import Component

from api.web.rights import RIGHTS, Right, Role
from dashboards.pages import Page, View
from dashboards.parts import block, empty, missing, page, table


def layout(view: View) -> Component:
    """Return the people, the tokens and the rights of each role; changes are made by commands and by the API."""
    local = ZoneInfo(view.here.estate().settings.timezone)
    people, tokens = view.here.accounts.people(), view.here.accounts.tokens()

    def day(at: int | None, reason: str) -> Component | str:
        if at is None:
            return missing(reason)
        return f"{datetime.fromtimestamp(at / 1e9, UTC).astimezone(local):%d %b %Y %H:%M}"

    unmasked = [one.name for one in people if one.numbers] + [one.name for one in tokens if one.numbers]
    see = "sees" if len(unmasked) == 1 else "see"
    said = f"{', '.join(unmasked)} {see} numbers unmasked" if unmasked else "nobody sees numbers unmasked"
    of_people = [
        (one.name, one.role.value, "yes" if one.numbers else "no", "password" if one.has_password else "single sign-on",
         day(one.made, ""))
        for one in people
    ]  # fmt: skip
    of_tokens = [
        (one.name, one.id, one.role.value, "yes" if one.numbers else "no", day(one.made, ""),
         day(one.ends, "it holds until it is revoked"), day(one.used, "it was never used"))
        for one in tokens
    ]  # fmt: skip
    roles = [(role.value, *("yes" if right in RIGHTS[role] else "" for right in Right)) for role in Role]
    return page(
        f"{_count(len(people), 'person', 'people')} and {_count(len(tokens), 'token', 'tokens')} may come in; {said}.",
        block(
            "People",
            table(("Name", "Role", "Sees numbers", "Signs in by", "Since"), of_people, css="words")
            if of_people
            else empty("Nobody can sign in by name yet.", "callgauge user add NAME --role viewer --store DIR"),
        ),
        block(
            "Tokens",
            table(("Name", "Id", "Role", "Sees numbers", "Since", "Until", "Last used"), of_tokens, css="words")
            if of_tokens
            else empty("There are no tokens.", "callgauge token add NAME --role viewer --store DIR"),
        ),
        block("What each role may", table(("Role", *(right.value for right in Right)), roles)),
    )


def _count(of: int, one: str, many: str) -> str:
    return f"{of:,} {one if of == 1 else many}"


PAGE = Page("/people", "People", Right.ADMIN, layout, place=90)
