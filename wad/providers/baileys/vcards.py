"""Contact cards: Meta's shape, in camelCase, as vCard 3.0 and back (RFC 2426, with WhatsApp's `waid`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_ESCAPED: Final = str.maketrans({"\\": "\\\\", ",": "\\,", ";": "\\;", "\n": "\\n", "\r": None})
_NAME_PARTS: Final = ("lastName", "firstName", "middleName", "prefix", "suffix")
_ADDRESS_PARTS: Final = (None, None, "street", "city", "state", "zip", "country")
#: `item1.TEL;type=CELL;waid=52155:+52 1 55`: a group, a name, parameters, a value.
_LINE: Final = re.compile(
    r"(?:[\w-]+\.)?(?P<name>[A-Za-z-]+)(?P<parameters>(?:;[^:;]*)*):(?P<value>.*)", re.ASCII
)
#: A card is typed by people: none has a thousand lines.
_MOST_LINES: Final = 1000


def vcard(contact: Mapping[str, Any]) -> str:
    name = contact["name"]
    parts = ";".join(_escaped(name.get(part)) for part in _NAME_PARTS)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:{parts}", f"FN:{_escaped(name['formattedName'])}"]
    for phone in contact.get("phones", ()):
        number = phone.get("phone") or (f"+{phone['waId']}" if phone.get("waId") else None)
        if number is not None:
            waid = phone.get("waId") or re.sub(r"\D", "", number)
            lines.append(f"TEL{_type(phone, 'CELL')};waid={waid}:{_escaped(number)}")
    lines += [f"EMAIL{_type(email)}:{_escaped(email['email'])}" for email in contact.get("emails", ())]
    lines += [f"URL{_type(url)}:{_escaped(url['url'])}" for url in contact.get("urls", ())]
    for address in contact.get("addresses", ()):
        parts = ";".join(_escaped(address.get(part)) if part else "" for part in _ADDRESS_PARTS)
        lines.append(f"ADR{_type(address)}:{parts}")
    if org := contact.get("org"):
        lines.append(f"ORG:{_escaped(org.get('company'))};{_escaped(org.get('department'))}")
        if org.get("title"):
            lines.append(f"TITLE:{_escaped(org['title'])}")
    if contact.get("birthday"):
        lines.append(f"BDAY:{contact['birthday']}")
    return "\n".join([*lines, "END:VCARD"])


def _escaped(value: str | None) -> str:
    return (value or "").translate(_ESCAPED)


def _type(part: Mapping[str, Any], default: str | None = None) -> str:
    """A parameter cannot hold what ends it, whatever a caller wrote."""
    kind = re.sub(r"[^A-Za-z0-9-]", "", part.get("type") or "") or default
    return f";type={kind}" if kind else ""


def contact(card: str, display_name: str | None = None) -> dict[str, Any]:
    """What *card* says, as far as wad has words for it. Nothing that a customer writes makes it raise."""
    found: dict[str, Any] = {"name": {"formattedName": display_name or ""}}
    for name, parameters, value in _lines(card):
        match name:
            case "FN" if text := _plain(value):
                found["name"]["formattedName"] = text
            case "N":
                found["name"] |= _named(_NAME_PARTS, value)
            case "TEL":
                phone = {
                    "phone": _plain(value),
                    "type": parameters.get("type"),
                    "waId": parameters.get("waid"),
                }
                _add(found, "phones", phone)
            case "EMAIL":
                _add(found, "emails", {"email": _plain(value), "type": parameters.get("type")})
            case "URL":
                _add(found, "urls", {"url": _plain(value), "type": parameters.get("type")})
            case "ADR":
                _add(found, "addresses", _named(_ADDRESS_PARTS, value) | {"type": parameters.get("type")})
            case "ORG":
                found.setdefault("org", {}).update(_named(("company", "department"), value))
            case "TITLE":
                found.setdefault("org", {})["title"] = _plain(value)
            case "BDAY" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
                found["birthday"] = value
            case _:
                pass
    return found


def _lines(card: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Name, parameters and value of each line; a line that begins with a space continues the one before."""
    unfolded = re.sub(r"\r?\n[ \t]", "", card)
    for line in unfolded.splitlines()[:_MOST_LINES]:
        if match := _LINE.fullmatch(line.strip()):
            parameters: dict[str, str] = {}
            for parameter in match["parameters"].split(";")[1:]:
                key, is_named, value = parameter.partition("=")
                # vCard 2.1 writes `TEL;CELL` for `TEL;type=CELL`.
                parameters.setdefault(key.lower() if is_named else "type", value if is_named else key)
            yield match["name"].upper(), parameters, match["value"]


def _plain(value: str) -> str:
    return re.sub(r"\\([\\,;nN])", lambda found: "\n" if found[1] in "nN" else found[1], value).strip()


def _named(names: Sequence[str | None], value: str) -> dict[str, str]:
    parts = re.split(r"(?<!\\);", value)
    return {
        name: text
        for name, part in zip(names, parts, strict=False)
        if name is not None and (text := _plain(part))
    }


def _add(found: dict[str, Any], what: str, item: Mapping[str, str | None]) -> None:
    if kept := {name: value for name, value in item.items() if value}:
        found.setdefault(what, []).append(kept)
