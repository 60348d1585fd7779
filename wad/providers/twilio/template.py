"""A template's parameters as the variables of one of Twilio's content templates.

A content template has one set of variables, `{{1}}` or `{{name}}`, wherever they stand: header, text, button. So the
parameters of all components are counted through in the order in which they are given, the named ones aside.
"""

from __future__ import annotations

from typing import Any, Final

from wad.errors import NotSupported

#: Parameter types that have a text to put in a variable's place, and where it is.
_TEXTS: Final = {
    "text": ("text",),
    "currency": ("currency", "fallbackValue"),
    "date_time": ("dateTime", "fallbackValue"),
    "image": ("image", "link"),
    "video": ("video", "link"),
    "document": ("document", "link"),
    "payload": ("payload",),
    "coupon_code": ("couponCode",),
}


def variables(template: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Each variable's name -> where its value stands (a JSON pointer), and the value.

    Raises NotSupported for a parameter that no variable can carry, such as a place or a product.
    """
    found: dict[str, tuple[str, str]] = {}
    count = 0
    for at, component in enumerate(template.get("components") or []):
        if component["type"] == "carousel":
            raise NotSupported("twilio", "template.carousel")
        for index, parameter in enumerate(component.get("parameters") or []):
            where = f"/template/components/{at}/parameters/{index}"
            name = parameter.get("parameterName")
            if name is None:
                count += 1
                name = str(count)
            found[name] = (where, _value(parameter))
    return found


def _value(parameter: dict[str, Any]) -> str:
    kind = parameter["type"]
    value: Any = parameter
    for step in _TEXTS.get(kind, ("",)):
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str):  # a file that was uploaded elsewhere has no link
        raise NotSupported("twilio", f"template.{kind}")
    return value
