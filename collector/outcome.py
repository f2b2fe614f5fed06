"""How a leg ended, and what is worth saying about it."""

from __future__ import annotations

from collector.dialogs import LegRecord
from collector.facts import CallState, Finding, Leg, Reason
from collector.transactions import TIMER_B

TIMER_C = 180_000_000_000
"""An INVITE without a final response after its last provisional one has failed [ns] (RFC 3261 16.6)."""

_NO_ANSWER_CAUSES = frozenset({18, 19, 102})


def state_of(record: LegRecord, now: int) -> CallState:
    """How a leg stands at `now` [ns].

    - completed: answered and ended by BYE; a BYE without its INVITE counts as that.
    - in progress: answered without BYE, or not answered and still within Timer B (no response yet) or Timer C.
    - cancelled: the caller gave up: CANCEL on the caller's own hop, or 487, without a Reason that says no answer.
    - unanswered: nobody took the call: 408 or 480 (not with Q.850 17 or 21: busy, rejected); 487 or CANCEL whose
      Reason is Q.850 18, 19, 102 or SIP 408, 480; or no final response within Timer B or C (RFC 3261 8.1.3.1 treats
      that as 408).
    - failed: any other final response from 300 on, a challenge that was not taken up included.
    """
    if record.bye_at is not None and (record.answered is not None or record.status is None):
        return CallState.COMPLETED
    if record.answered is not None:
        return CallState.IN_PROGRESS
    if record.cancelled is not None or record.status == 487:
        return CallState.UNANSWERED if _means_no_answer(record.reason) else CallState.CANCELLED
    if record.status is not None:
        refused = record.reason is not None and record.reason.protocol == "Q.850" and record.reason.cause in (17, 21)
        return CallState.UNANSWERED if record.status in (408, 480) and not refused else CallState.FAILED
    if record.invite_cseq < 0:
        return CallState.IN_PROGRESS
    limit = TIMER_B if record.provisional_at is None else TIMER_C
    since = (record.tried_at or record.start) if record.provisional_at is None else record.provisional_at
    return CallState.UNANSWERED if now - since > limit else CallState.IN_PROGRESS


def _means_no_answer(reason: Reason | None) -> bool:
    if reason is None:
        return False
    if reason.protocol == "SIP":
        return reason.cause in (408, 480)
    return reason.protocol == "Q.850" and reason.cause in _NO_ANSWER_CAUSES


def leg_of(record: LegRecord, now: int) -> Leg:
    """The facts of one leg as they stand at `now` [ns]."""
    negotiation = record.negotiation
    return Leg(
        record.call_id,
        record.src,
        record.dst,
        record.transport,
        record.from_uri,
        record.to_uri,
        record.request_uri,
        state_of(record, now),
        record.status,
        record.status_text if record.status is not None else None,
        record.reason,
        record.start,
        record.ringing,
        record.answered,
        record.ended if record.ended is not None or record.answered is not None else record.final_at,
        record.hung_up_by,
        None if record.session is None else ";remote=".join(record.session),
        record.invites,
        record.retransmissions,
        record.forks,
        record.messages,
        tuple(negotiation.media) if negotiation is not None else (),
        negotiation.all_spans() if negotiation is not None else (),
        record.transferred_to,
        record.replaces,
        dict(sorted(record.defects.items())) if record.defects else {},
        tuple(_findings(record)),
        () if record.ladder is None else record.ladder.steps(),
        0 if record.ladder is None else record.ladder.left_out,
    )


def _findings(record: LegRecord) -> list[Finding]:
    findings: list[Finding] = []
    if record.in_middle:
        findings.append(Finding("joined_in_the_middle", "joined in the middle: its INVITE is not in the capture"))
    if record.answer_inferred:
        findings.append(Finding("answer_not_seen", "the answer itself was not captured, only its ACK"))
    elif record.invites and record.bye_at is not None and record.answered is None and record.status is None:
        findings.append(Finding("answer_not_seen", "the answer was not captured, only the BYE that ended the call"))
    if record.forks > 1:
        findings.append(Finding("forked", f"forked to {record.forks} destinations"))
    if record.status is not None and record.status // 100 == 3:
        findings.append(Finding("redirected", f"redirected to {record.redirected_to or 'nowhere'}", at=record.final_at))
    if record.transfer_refused is not None:
        findings.append(Finding("transfer_failed", f"transfer failed with {record.transfer_refused}"))
    if record.answered is not None and not record.acknowledged and not record.in_middle:
        findings.append(Finding("answer_not_acknowledged", "the answer was never acknowledged", at=record.answered))
    if record.stray_byes:
        strays = "1 BYE" if record.stray_byes == 1 else f"{record.stray_byes} BYEs"
        findings.append(
            Finding("stray_bye", f"{strays} with the tags of no dialog of the call: ended nothing", record.stray_byes)
        )
    if record.copies:
        messages = "1 message" if record.copies == 1 else f"{record.copies} messages"
        findings.append(Finding("heard_more_than_once", f"{messages} heard again at another hop or tap", record.copies))
    if record.negotiation is not None and record.negotiation.dropped:
        dropped = record.negotiation.dropped
        announced = (
            "1 announcement past the limit is" if dropped == 1 else f"{dropped} announcements past the limit are"
        )
        findings.append(Finding("media_not_listed", f"{announced} not listed", dropped))
    return findings
