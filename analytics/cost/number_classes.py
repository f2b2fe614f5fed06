"""Classes of dialled numbers: Ofcom's distinctions that `phonenumbers` does not draw, and the classes elsewhere.

Sources: Ofcom, The National Telephone Numbering Plan (designations by leading digits); Ofcom, Unbundled tariff
numbers: 084, 087, 09 and 118 cost an access charge plus a service charge; 03 costs what 01 and 02 cost.
"""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "unknown"
EMERGENCY = "emergency"
INTERNAL = "internal"
INTERNATIONAL = "international"
INTERSITE = "intersite"
ONSITE = "onsite"
SHORT_OTHER = "short_other"

ANYWHERE: Mapping[str, str] = {
    EMERGENCY: "999, 112, 18000; elsewhere what the country dials for emergencies",
    INTERNAL: "extension by the site's dial plan, where the other end's site is not known",
    INTERSITE: "call between two sites of the estate",
    ONSITE: "call within one site",
    "geographic": "fixed lines by area: 01 and 02",
    "mobile": "mobile telephones: 071 to 075, 077 to 079",
    "freephone": "free to the caller: 080",
    INTERNATIONAL: "any other country",
    SHORT_OTHER: "other short codes",
    UNKNOWN: "not a number that can be told: `why` says why",
}
"""Classes of every country."""

UNITED_KINGDOM: Mapping[str, str] = {
    "uk_wide_03": "03: charged as geographic, and included where geographic minutes are",
    "corporate_055": "055: corporate numbers",
    "location_independent_056": "056: location-independent numbers",
    "mobile_crown_dep": "mobile telephones of Jersey, Guernsey and the Isle of Man: +44, charged apart",
    "crown_dep": "01481, 01534 and 01624: fixed lines of Guernsey, Jersey and the Isle of Man: +44, charged apart",
    "pager_076": "076 but 07624: pagers",
    "personal_070": "070: personal numbers, not mobile",
    "service_084": "084: access charge plus service charge",
    "service_087": "087: access charge plus service charge",
    "premium_09": "09: access charge plus service charge",
    "directory_118": "118 and three digits: directory enquiries, access charge plus service charge",
    "freephone_116": "116 and three digits: helplines of social value",
    "police_101": "101",
    "nhs_111": "111",
    "power_105": "105",
}
"""Classes of +44 besides those of `ANYWHERE`."""

ELSEWHERE: Mapping[str, str] = {
    "premium": "premium rate",
    "shared_cost": "shared cost",
    "voip": "numbers of voice over IP",
    "personal": "personal numbers",
    "pager": "pagers",
    "uan": "universal access numbers",
    "voicemail": "voicemail access",
}
"""Classes of other home countries besides those of `ANYWHERE`, by the type that `phonenumbers` gives."""

CLASSES: Mapping[str, str] = {**ANYWHERE, **UNITED_KINGDOM, **ELSEWHERE}
"""Every class and what it holds."""

DESIGNATIONS: Mapping[str, str] = {
    "1": "geographic",
    "1481": "crown_dep",
    "1534": "crown_dep",
    "1624": "crown_dep",
    "2": "geographic",
    "3": "uk_wide_03",
    "55": "corporate_055",
    "56": "location_independent_056",
    "70": "personal_070",
    "71": "mobile",
    "72": "mobile",
    "73": "mobile",
    "74": "mobile",
    "75": "mobile",
    "76": "pager_076",
    "7624": "mobile_crown_dep",
    "77": "mobile",
    "78": "mobile",
    "79": "mobile",
    "80": "freephone",
    "84": "service_084",
    "87": "service_087",
    "9": "premium_09",
}
"""Class by the first digits of a national number of +44, longest first."""

SHORT_CODES: Mapping[str, str] = {
    "18000": EMERGENCY,  # text relay to 999
    "101": "police_101",
    "111": "nhs_111",
    "105": "power_105",
}
"""Class by a whole short code."""

SHORT_RANGES: Mapping[str, str] = {"118": "directory_118", "116": "freephone_116"}
"""Class by the first three digits of a short code of six."""

CALL_PREFIXES = ("1470", "141", "18001", "18002")
"""Dialled before a number: give or withhold one's own number, text relay. They do not change its price."""

ODD_NUMBERS = {"8001111": "freephone", "845464": "service_084"}
"""Numbers of seven digits, by their first: Childline 0800 1111 and the old NHS Direct 0845 46 4x."""

CROWN_DEPENDENCIES = frozenset({"GG", "IM", "JE"})
