"""Signalling metrics of a capture: RFC 6076, and the answer-seizure and network effectiveness ratios of ITU-T E.425.

What counts as one attempt: a call, that is the caller's first INVITE with everything that came of it. The INVITE that
answers a challenge (401, 407) or a 422, an INVITE that follows a redirection under the same Call-ID, retransmissions,
forks, re-INVITEs and the further legs that back-to-back user agents and recorders add are no attempts of their own. A
call whose INVITE lies before the capture is none either: how it began is not known.

Ratios are percent of attempts and None without any: an empty capture did not fail.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from collector.facts import Call, CallState, Reason, SignallingMetrics

Integers = npt.NDArray[np.int64]

_EFFECTIVE = frozenset({480, 486, 600, 603})
"""RFC 6076 4.7: responses that show a working network and an unwilling or absent user."""
_INEFFECTIVE = frozenset({408, 500, 503, 504})
"""RFC 6076 4.8: responses that show overload or failure in the network."""
_CHALLENGES = frozenset({401, 402, 407})
"""RFC 6076 4.2, 4.3.2: responses that are no failure but ask for more."""
_USER_CAUSES = frozenset({16, 17, 18, 19, 21})
"""Q.850 causes of E.425's user busy, ring no answer and terminal rejection; 16 is a normal clearing."""
_USER_STATUSES = frozenset({480, 486, 600, 603})
"""The same as SIP has them (RFC 3398 7.2.4.1): busy 486 and 600, no answer 480, rejected 603."""


CALL_STATES = tuple(CallState)
"""States by the number that stands for each in columns."""


class PlainOutcomes(NamedTuple):
    """What became of plain calls, in columns: times in ns, 0 where there is none."""

    state: Integers
    """Place in `CALL_STATES`."""
    status: Integers
    start: Integers
    ringing: Integers
    indicated: Integers
    """When the caller first heard what becomes of the call: ringing, or a final response."""
    answered: Integers
    end: Integers
    bye_at: Integers
    bye_confirmed: Integers


class Registration(NamedTuple):
    """One attempt to register: a challenge and the request that answers it are one."""

    status: int | None
    """Final status, None when nobody answered."""
    delay_ms: float | None
    """First REGISTER to the final response."""


class _Mean:
    """A mean that needs no list; whole nanoseconds give the same sum in any order."""

    __slots__ = ("count", "total_ns")

    def __init__(self) -> None:
        self.total_ns = 0
        self.count = 0

    def add(self, value_ms: float | None) -> None:
        if value_ms is not None:
            self.total_ns += round(value_ms * 1e6)
            self.count += 1

    def add_all(self, values_ns: Integers) -> None:
        self.total_ns += int(values_ns.sum())
        self.count += len(values_ns)

    def value(self) -> float | None:
        """In milliseconds."""
        return self.total_ns / self.count / 1e6 if self.count else None


class Tally:
    """Sums over attempts, in which calls that left the table stay counted."""

    def __init__(self) -> None:
        self.attempts = self.answered = self.completed = 0
        self._redirected = self._effective = self._ineffective = self._network_worked = 0
        self._request_delay = _Mean()
        self._failed_request_delay = _Mean()
        self._disconnect_delay = _Mean()
        self._duration = _Mean()
        self._registration_delay = _Mean()
        self._registrations = self._ineffective_registrations = 0

    def add_call(self, call: Call, disconnect_delay_ms: float | None) -> None:
        """Count one call; `disconnect_delay_ms` from BYE to its 2xx (RFC 6076 4.4)."""
        if not call.legs[0].invites:
            return
        self.attempts += 1
        # RFC 3261 8.1.3.1: a caller that hears nothing until its timer ends takes that for a 408.
        status = call.status
        if status is None and call.state is CallState.UNANSWERED:
            status = 408
        if call.answered is not None:
            self.answered += 1
            self._request_delay.add(call.post_dial_delay_ms)
        elif status is not None:
            self._count_failure(call, status)
        if call.state is CallState.COMPLETED:
            self.completed += 1
            self._duration.add(call.duration_ms)
            self._disconnect_delay.add(disconnect_delay_ms)
        if call.answered is not None or call.state is CallState.CANCELLED or _user_decided(call, status):
            self._network_worked += 1

    def _count_failure(self, call: Call, status: int) -> None:
        if 300 <= status < 400:
            self._redirected += 1
        if status in _EFFECTIVE:
            self._effective += 1
        if status in _INEFFECTIVE:
            self._ineffective += 1
        if call.status is not None and status >= 400 and status not in _CHALLENGES:
            leg = call.legs[0]
            if leg.ringing is None:
                self._failed_request_delay.add(call.post_dial_delay_ms)
            elif leg.end is not None:
                self._failed_request_delay.add((leg.end - leg.start) / 1e6)

    def add_plain(self, calls: PlainOutcomes) -> None:
        """Count calls of one leg each, to which nothing happened that needs a closer look."""
        answered, failed = calls.answered > 0, calls.answered == 0
        # RFC 3261 8.1.3.1, as above.
        status = np.where(
            (calls.status == 0) & (calls.state == CALL_STATES.index(CallState.UNANSWERED)), 408, calls.status
        )
        completed = calls.state == CALL_STATES.index(CallState.COMPLETED)
        cancelled = calls.state == CALL_STATES.index(CallState.CANCELLED)
        user = np.isin(status, list(_USER_STATUSES)) | ((status == 408) & (calls.ringing > 0))
        self.attempts += len(status)
        self.answered += int(answered.sum())
        self.completed += int(completed.sum())
        self._effective += int((failed & np.isin(status, list(_EFFECTIVE))).sum())
        self._ineffective += int((failed & np.isin(status, list(_INEFFECTIVE))).sum())
        self._network_worked += int((answered | cancelled | user).sum())
        self._request_delay.add_all(_spans(calls.start, calls.indicated, answered))
        told = failed & (calls.status >= 400) & ~np.isin(calls.status, list(_CHALLENGES))
        self._failed_request_delay.add_all(_spans(calls.start, calls.indicated, told & (calls.ringing == 0)))
        rang = told & (calls.ringing > 0) & (calls.end > 0)
        self._failed_request_delay.add_all((calls.end - calls.start)[rang])
        self._duration.add_all(_spans(calls.answered, calls.end, completed))
        confirmed = completed & (calls.bye_confirmed > 0)
        self._disconnect_delay.add_all((calls.bye_confirmed - calls.bye_at)[confirmed])

    def add_registration(self, registration: Registration) -> None:
        """Count one attempt to register."""
        self._registrations += 1
        status = registration.status
        if status is not None and 200 <= status < 300:
            self._registration_delay.add(registration.delay_ms)
        elif status is None or (status >= 400 and status not in _CHALLENGES and status != 423):
            self._ineffective_registrations += 1

    def metrics(self) -> SignallingMetrics:
        """The metrics as they stand."""
        attempts = self.attempts
        sessions = attempts - self._redirected
        return SignallingMetrics(
            attempts=attempts,
            answered=self.answered,
            completed=self.completed,
            asr_percent=_percent(self.answered, attempts),
            ner_percent=_percent(self._network_worked, attempts),
            ser_percent=_percent(self.answered, sessions),
            seer_percent=_percent(self.answered + self._effective, sessions),
            isa_percent=_percent(self._ineffective, attempts),
            scr_percent=_percent(self.completed, attempts),
            registration_request_delay_ms=self._registration_delay.value(),
            ineffective_registration_percent=_percent(self._ineffective_registrations, self._registrations),
            session_request_delay_ms=self._request_delay.value(),
            failed_session_request_delay_ms=self._failed_request_delay.value(),
            session_disconnect_delay_ms=self._disconnect_delay.value(),
            session_duration_ms=self._duration.value(),
        )


def _spans(start: Integers, end: Integers, wanted: npt.NDArray[np.bool_]) -> Integers:
    """Times between, where both are known and in order."""
    return (end - start)[wanted & (start > 0) & (end >= start)]


def _user_decided(call: Call, status: int | None) -> bool:
    """E.425 network effectiveness: the network did its part, the people did not talk."""
    cause = _q850(call.reason)
    if cause is not None:
        return cause in _USER_CAUSES
    if status in _USER_STATUSES:
        return True
    # A 408 after ringing is a telephone that nobody took up, without ringing one that was never reached.
    return status == 408 and call.legs[0].ringing is not None


def _q850(reason: Reason | None) -> int | None:
    return reason.cause if reason is not None and reason.protocol == "Q.850" else None


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
