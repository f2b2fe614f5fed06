"""Signalling metrics of a capture: RFC 6076, and the answer-seizure and network effectiveness ratios of ITU-T E.425.

What counts as one attempt: a call, that is the caller's first INVITE with everything that came of it. The INVITE that
answers a challenge (401, 407) or a 422, an INVITE that follows a redirection under the same Call-ID, retransmissions,
forks, re-INVITEs and the further legs that back-to-back user agents and recorders add are no attempts of their own. A
call whose INVITE lies before the capture is none either: how it began is not known.

Ratios are percent of attempts and None without any: an empty capture did not fail.
"""

from __future__ import annotations

from typing import NamedTuple

from collector.facts import Call, CallState, Reason, SignallingMetrics

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


class Registration(NamedTuple):
    """One attempt to register: a challenge and the request that answers it are one."""

    status: int | None
    """Final status, None when nobody answered."""
    delay_ms: float | None
    """First REGISTER to the final response."""


class _Mean:
    """A mean that needs no list."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.count += 1

    def value(self) -> float | None:
        return self.total / self.count if self.count else None


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
