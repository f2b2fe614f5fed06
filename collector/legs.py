"""Joining legs into calls.

A back-to-back user agent ends one Call-ID and begins another for the same attempt. What shows that legs belong
together: the Session-ID (RFC 7989), Replaces (RFC 3891), headers that carry the other leg's Call-ID or a common value,
and media that one leg hands to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collector.facts import Call, CallState, Leg

_POINTING = frozenset({"replaces", "x-cid", "x-call-id", "x-original-call-id", "media"})
"""Evidence whose value is a Call-ID; any other value is only shared."""
_NAMES = {
    "x-cid": "X-CID",
    "x-call-id": "X-Call-ID",
    "x-original-call-id": "X-Original-Call-ID",
    "cisco-guid": "Cisco-Guid",
    "av-global-session-id": "AV-Global-Session-ID",
    "x-genesys-calluuid": "X-Genesys-CallUUID",
    "icid-value": "P-Charging-Vector",
}


class LegGroups:
    """Sets of Call-IDs that belong together, grown as evidence comes (union-find)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parent: dict[str, str] = {}
        self._members: dict[str, list[str]] = {}
        self._why: dict[str, set[str]] = {}
        self._holders: dict[tuple[str, str], str] = {}
        self.refused = 0
        """Joins left out because the call would have had more legs than the limit."""

    def note(self, call_id: str, kind: str, value: str) -> None:
        """Evidence seen in a leg: joins it to the leg that the value names, or to the others with the same value."""
        if kind in _POINTING:
            self.join(call_id, value, kind)
            return
        holder = self._holders.setdefault((kind, value), call_id)
        if holder != call_id:
            self.join(holder, call_id, kind)

    def join(self, one: str, other: str, kind: str) -> None:
        """Two Call-IDs belong together."""
        if one == other:
            return
        first, second = self._root(one), self._root(other)
        if first == second:
            self._why[first].add(_NAMES.get(kind, kind))
            return
        members = self._members.get(first, [first]) + self._members.get(second, [second])
        if len(members) > self._limit:
            self.refused += 1
            return
        self._parent[second] = self._parent[first] = first
        self._members[first] = members
        self._members.pop(second, None)
        why = self._why.setdefault(first, set())
        why |= self._why.pop(second, set())
        why.add(_NAMES.get(kind, kind))

    def _root(self, call_id: str) -> str:
        parent = self._parent
        root = call_id
        while (above := parent.get(root, root)) != root:
            root = above
        while call_id != root and parent.get(call_id, root) != root:
            parent[call_id], call_id = root, parent[call_id]
        return root

    def call_ids(self) -> list[str]:
        """Call-IDs that evidence joined to others, whether or not a leg has them."""
        return [call_id for members in self._members.values() for call_id in members]

    def members(self, call_id: str) -> Sequence[str]:
        """All Call-IDs of the call that this one belongs to, itself among them."""
        return self._members.get(self._root(call_id), (call_id,))

    def joined_by(self, call_id: str) -> tuple[str, ...]:
        """The kinds of evidence that joined them, sorted."""
        return tuple(sorted(self._why.get(self._root(call_id), ())))

    def forget(self, call_id: str, evidence: Iterable[tuple[str, str]]) -> None:
        """The leg left the table: its values join nobody any longer."""
        for key in evidence:
            if self._holders.get(key) == call_id:
                del self._holders[key]
        root = self._root(call_id)
        members = self._members.get(root)
        if members is None:
            return
        members.remove(call_id)
        if len(members) < 2:
            self._dissolve(root, members)
        else:
            heir = members[0]
            self._members[heir] = self._members.pop(root)
            self._why[heir] = self._why.pop(root)
            for member in members:
                self._parent[member] = heir
        self._parent.pop(call_id, None)

    def _dissolve(self, root: str, members: list[str]) -> None:
        for member in members:
            self._parent.pop(member, None)
        self._members.pop(root, None)
        self._why.pop(root, None)


def primary_of(legs: Sequence[Leg]) -> Leg:
    """The leg that stands for the call: the earliest that begins with its INVITE, else the earliest."""
    return min(legs, key=lambda leg: (leg.invites == 0, leg.start, leg.call_id))


def call_of(legs: Sequence[Leg], joined_by: tuple[str, ...]) -> Call:
    """The call that legs make together.

    Its outcome is that of its first leg: what the person who called experienced. Only when another leg took it over by
    Replaces does the call go on there, and ends with the last of them.
    """
    primary = primary_of(legs)
    others = sorted((leg for leg in legs if leg is not primary), key=lambda leg: (leg.start, leg.call_id))
    ordered = (primary, *others)
    closing = primary
    took_over = [leg for leg in others if leg.replaces is not None and leg.answered is not None]
    if took_over and primary.answered is not None:
        closing = _last_ended([primary, *took_over], primary)
    final = primary.end if primary.answered is None else primary.answered
    indication = primary.ringing if primary.ringing is not None else (final if primary.status is not None else None)
    begun = primary.invites > 0
    return Call(
        primary.call_id,
        ordered,
        joined_by if others else (),
        closing.state,
        primary.status,
        primary.status_text,
        closing.reason or primary.reason,
        primary.from_uri,
        primary.to_uri,
        primary.start,
        primary.answered,
        closing.end,
        _ms(primary.start, indication) if begun else None,
        _ms(primary.start, primary.answered) if begun else None,
        _ms(primary.answered, closing.end),
        closing.hung_up_by,
        tuple(dict.fromkeys(finding for leg in ordered for finding in leg.findings)),
    )


def _last_ended(answered: Sequence[Leg], primary: Leg) -> Leg:
    running = [leg for leg in answered if leg.state is CallState.IN_PROGRESS]
    if running:
        return running[-1]
    return max(answered, key=lambda leg: (leg.end or 0, leg.call_id), default=primary)


def _ms(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None or end < start else (end - start) / 1e6
