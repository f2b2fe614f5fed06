"""Who may see what: roles, rights, and the caller of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Right(StrEnum):
    """What a caller may do."""

    SELF = "self"
    """Be known: see oneself, sign out."""
    AGGREGATES = "aggregates"
    """Sites, pairs of sites, alerts, the data path, the live view: nothing of single people."""
    SUMMARY = "summary"
    """The verdict on the savings, without lines or classes of numbers."""
    CALLS = "calls"
    """Calls and streams, with numbers masked."""
    UPLOAD = "upload"
    """Have a capture analysed."""
    ACT = "act"
    """Acknowledge and silence alerts."""
    MONEY = "money"
    """Costs, savings and reports down to classes of numbers."""
    AUDIT = "audit"
    """The audit log."""
    ADMIN = "admin"
    """Tokens, people, webhooks, settings."""
    NUMBERS = "numbers"
    """See people's numbers. No role has it: it is granted to single people and tokens, and each look is logged."""


class Role(StrEnum):
    """What somebody is to the system."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    FINANCE = "finance"
    AUDITOR = "auditor"
    ADMIN = "admin"


_SEEN_BY_ALL: Final = frozenset({Right.SELF, Right.AGGREGATES, Right.SUMMARY})
RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.VIEWER: _SEEN_BY_ALL,
        Role.ENGINEER: _SEEN_BY_ALL | {Right.CALLS, Right.UPLOAD, Right.ACT},
        Role.FINANCE: _SEEN_BY_ALL | {Right.MONEY},
        Role.AUDITOR: _SEEN_BY_ALL | {Right.AUDIT},
        Role.ADMIN: frozenset(Right) - {Right.NUMBERS},
    }
)
"""Rights of each role."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person who signed in, or a token."""

    key: str
    """`user:NAME` or `token:ID`: as it stands in the audit log."""
    name: str
    """Shown to people."""
    role: Role
    numbers: bool = False
    """Whether numbers may be seen unmasked."""
    session: str | None = None
    """Digest of the session's secret; None for a token."""

    def may(self, right: Right) -> bool:
        """Whether the caller has a right."""
        return self.numbers if right is Right.NUMBERS else right in RIGHTS[self.role]
