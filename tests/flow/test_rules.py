"""The built-in rules: what matches, what is answered, and what is said about a file that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wad.content import parse_reply
from wad.errors import FieldError, InvalidRequest
from wad.flow.rules import Rules
from wad.flow.texts import compiled, fold, trim, words
from wad.models import (
    ChatId,
    FlowEvent,
    InboundMessage,
    InboxItem,
    MessageId,
    Person,
    SessionId,
)

NOW = datetime(2026, 12, 1, 15, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "config" / "rules.yaml"


def item(
    content: dict[str, Any] | str,
    *,
    name: str | None = "Ana",
    group: bool = False,
    provider: str = "cloud_api",
) -> InboxItem:
    if isinstance(content, str):
        content = {"type": "text", "text": {"body": content}}
    message = InboundMessage(
        provider_message_id="wamid.1",
        chat=ChatId("+5215512345678"),
        chat_kind="group" if group else "person",
        sender=Person(phone="+5215512345678", name=name),
        content=content,
    )
    return InboxItem(
        message_id=MessageId("msg_1"),
        session_id=SessionId("tienda-1"),
        provider=provider,
        event=message,
        seq=1,
        received_at=NOW,
        expires_at=NOW,
    )


def rules(text: str) -> Rules:
    return Rules.parse(text, parse_reply)


def matching(match: str) -> Rules:
    return rules(f"rules: [{{match: {match}, replies: [{{text: yes}}]}}]")


def fits(match: str, content: dict[str, Any] | str, **kwargs: Any) -> bool:
    return bool(matching(match).answer(item(content, **kwargs)))


def errors(text: str) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        rules(text)
    return {error.pointer: error.detail for error in caught.value.errors}


# --- matching -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        pytest.param("exact: hola", "hola", True, id="the same"),
        pytest.param("exact: hola", "  ¡HOLA!! ", True, id="case, marks and spaces do not matter"),
        pytest.param("exact: hola", "hola amigo", False, id="more than it"),
        pytest.param("exact: buenos días", "Buenos  dias", True, id="accents and double spaces"),
        pytest.param("exact: '¿qué?'", "que", True, id="accents and marks in the rule"),
        pytest.param("exact: año", "ANO", True, id="ñ is n"),
        pytest.param("exact: '👍'", "👍", True, id="nothing but marks"),
        pytest.param("exact: '👍'", "👎", False, id="other marks"),
        pytest.param("exact: 1", "1", True, id="a number in the file"),
        pytest.param("exact: no", "No.", True, id="no is a word, and not YAML 1.1's false"),
        pytest.param("exact: [si, on, yes]", "on", True, id="so are the others"),
        pytest.param("exact: hola", "ｈｏｌａ", True, id="wide letters"),
        pytest.param("contains: precio", "¿Qué PRECIOS tienen?", True, id="a part of a word"),
        pytest.param("contains: envío gratis", "hay ENVIO   GRATIS?", True, id="two words"),
        pytest.param("contains: [a1, b2]", "…b2…", True, id="any of a list"),
        pytest.param("contains: $5", "cuesta $5", True, id="marks count in contains"),
        pytest.param("contains: precio", "costo", False, id="nothing of it"),
        pytest.param("word: no", "no, gracias", True, id="a whole word"),
        pytest.param("word: no", "noche", False, id="not a part of one"),
        pytest.param("word: buenos dias", "¡Muy buenos días!", True, id="several words in a row"),
        pytest.param("word: buenos dias", "buenos malos dias", False, id="but not apart"),
        pytest.param("regex: '^pedido #?[0-9]+$'", "PEDIDO 123", True, id="a regex, whatever case"),
        pytest.param("regex: 'cuánto'", "CUANTO es", True, id="accents in a regex"),
        pytest.param("regex: '[[:digit:]]{4}'", "el 123", False, id="a regex that does not"),
        pytest.param("regex: '\\d{2}\\D'", "12a", True, id="classes keep their case"),
        pytest.param("{exact: hola, regex: '^ho$'}", "ho", True, id="any one kind is enough"),
    ],
)
def test_a_text_matches(match, text, expected):
    spec = match if match.startswith("{") else f"{{{match}}}"
    assert fits(f"{{text: {spec}}}", text) is expected


BUTTON = {
    "type": "interactive",
    "interactive": {"type": "button_reply", "buttonReply": {"id": "hours", "title": "Horario"}},
}
ROW = {
    "type": "interactive",
    "interactive": {"type": "list_reply", "listReply": {"id": "r1", "title": "Rojo"}},
}
QUICK = {"type": "button", "button": {"payload": "PAY", "text": "Pagar"}}
PHOTO = {"type": "image", "image": {"mediaId": "m", "caption": "Mi recibo"}}
BARE_PHOTO = {"type": "image", "image": {"mediaId": "m"}}


@pytest.mark.parametrize(
    ("match", "content", "expected"),
    [
        pytest.param("{id: hours}", BUTTON, True, id="a button by its id"),
        pytest.param("{id: other}", BUTTON, False, id="another button"),
        pytest.param("{text: {exact: horario}}", BUTTON, True, id="a button by its title"),
        pytest.param("{id: [r1, r2]}", ROW, True, id="a row by its id"),
        pytest.param("{id: PAY}", QUICK, True, id="a template's button by its payload"),
        pytest.param("{text: {exact: pagar}}", QUICK, True, id="...and by its text"),
        pytest.param("{id: hours}", "hours", False, id="a text is no tap"),
        pytest.param("{text: {contains: recibo}}", PHOTO, True, id="a caption"),
        pytest.param("{text: {contains: recibo}}", BARE_PHOTO, False, id="no caption"),
        pytest.param("{type: image}", BARE_PHOTO, True, id="a type"),
        pytest.param("{type: [audio, video]}", BARE_PHOTO, False, id="other types"),
        pytest.param("{type: image, text: {contains: recibo}}", PHOTO, True, id="a type and a text"),
        pytest.param("{type: text, text: {contains: recibo}}", PHOTO, False, id="both must fit"),
        pytest.param(
            "{text: {contains: x}}", {"type": "interactive"}, False, id="an answer without its object"
        ),
        pytest.param("{text: {contains: x}}", {"type": "contacts", "contacts": [{}]}, False, id="a list"),
        pytest.param(
            "{text: {contains: 7}}", {"type": "text", "text": {"body": 7}}, False, id="no text at all"
        ),
    ],
)
def test_a_message_matches(match, content, expected):
    assert fits(match, content) is expected


@pytest.mark.parametrize(
    ("chat", "in_person", "in_group"),
    [
        ("", True, False),
        (", chat: person", True, False),
        (", chat: group", False, True),
        (", chat: any", True, True),
    ],
)
def test_groups_are_answered_only_where_a_rule_says_so(chat, in_person, in_group):
    match = f"{{text: {{exact: hola}}{chat}}}"
    assert fits(match, "hola") is in_person
    assert fits(match, "hola", group=True) is in_group


@pytest.mark.parametrize(
    ("providers", "expected"),
    [("cloud_api", True), ("[baileys, cloud_api]", True), ("baileys", False), ("[baileys, twilio]", False)],
)
def test_a_rule_may_be_for_some_providers_alone(providers, expected):
    """Not every one can send what it answers with."""
    assert fits(f"{{provider: {providers}, text: {{exact: hola}}}}", "hola") is expected


def test_a_provider_alone_is_no_match():
    """What answers everything is the default."""
    assert set(errors("rules: [{match: {provider: baileys}, replies: []}]")) == {"/rules/0/match"}


def test_what_a_provider_cannot_send_is_told_with_its_place():
    """Of the rules that are for it, and of the default; a rule for others does not matter to it."""
    found = rules("""
    rules:
      - match: {text: {exact: a}}
        replies: [{text: short}, {text: much too long}]
      - match: {text: {exact: b}, provider: twilio}
        replies: [{text: much too long}]
    default: [{text: much too long}]
    """)

    def check(reply: Mapping[str, Any]) -> list[FieldError]:
        return [FieldError("/text/body", "is too long")] if len(reply["text"]) > 5 else []

    assert [error.pointer for error in found.unsendable("baileys", check)] == [
        "/rules/0/replies/1/text/body",
        "/default/0/text/body",
    ]
    assert len(list(found.unsendable("twilio", check))) == 3


def test_the_first_rule_that_matches_answers():
    file = """
    rules:
      - {match: {text: {contains: a}}, replies: [{text: first}]}
      - {match: {text: {contains: ab}}, replies: [{text: second}]}
    default: [{text: none}]
    """
    assert rules(file).answer(item("ab")) == [{"text": "first"}]
    assert rules(file).answer(item("zz")) == [{"text": "none"}]


def test_a_rule_without_replies_keeps_silent():
    file = "{rules: [{match: {text: {exact: stop}}, replies: []}], default: [{text: none}]}"
    assert rules(file).answer(item("stop")) == []


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(item({"type": "poll_vote", "poll_vote": {"options": ["hoy"]}}), id="a vote"),
        pytest.param(item({"type": "reaction", "reaction": {"emoji": "👍"}}), id="a reaction"),
        pytest.param(
            item({"type": "system", "system": {"body": "changed number"}}), id="WhatsApp's own word"
        ),
        pytest.param(item("hola", group=True), id="a group"),
        pytest.param(
            msgspec.structs.replace(item(""), event=FlowEvent(type="session.state", dedupe_key="k", data={})),
            id="not a message",
        ),
    ],
)
def test_the_default_does_not_answer_what_asks_for_no_answer(silent):
    assert rules("default: [{text: none}]").answer(silent) == []


def test_a_file_with_nothing_in_it_answers_nothing():
    for text in ("", "{}", "# later", "rules:", "rules: []"):
        assert rules(text).answer(item("hola")) == []


# --- replies --------------------------------------------------------------------------------------


def filled(template: str, text: str, name: str | None = "Ana") -> str:
    answered = Rules.parse(f"default: [{{text: '{template}'}}]", parse_reply).answer(item(text, name=name))
    return answered[0]["text"]


def test_name_and_text_are_filled_in():
    assert filled("Hola {name}: {text}", "¿qué tal?") == "Hola Ana: ¿qué tal?"
    assert filled("¡Hola {name}!", "x", name=None) == "¡Hola!"
    assert filled("{name}, hola", "x") == "Ana, hola"


def test_what_a_customer_wrote_is_not_filled_in_again():
    """A customer who writes {name} gets it back, and one named {text} cannot fetch it."""
    assert filled("«{text}»", "soy {name}") == "«soy {name}»"
    assert filled("{name}", "secret", name="{text}") == "{text}"


def test_other_braces_stay():
    assert filled("a { b } {} {a b}", "x") == "a { b } {} {a b}"


def test_long_texts_and_names_are_cut():
    assert len(filled("{text}", "a" * 5000)) == 1000
    assert len(filled("{name}", "x", name="a" * 5000)) == 60


def test_placeholders_work_at_any_depth():
    file = """
    default:
      - interactive:
          type: button
          body: {text: "Hola {name}"}
          action: {buttons: [{type: reply, reply: {id: a, title: "{name}"}}]}
    """
    (reply,) = rules(file).answer(item("x"))
    assert reply["interactive"]["body"]["text"] == "Hola Ana"
    assert reply["interactive"]["action"]["buttons"][0]["reply"]["title"] == "Ana"


def test_answering_does_not_change_the_rules():
    answering = rules("default: [{text: 'Hola {name}'}]")
    assert answering.answer(item("x", name="Eva")) == [{"text": "Hola Eva"}]
    assert answering.answer(item("x", name="Ana")) == [{"text": "Hola Ana"}]


# --- a file that is wrong -------------------------------------------------------------------------


def test_every_error_is_reported_at_once_with_its_path():
    found = errors("""
    rules:
      - match: {text: {exact: hola, regex: ["a(", "(?=b)"]}}
        replies: [{text: ok}]
      - match: {typ: image}
        replies: [{text: {body: ""}}, {image: {}}]
      - match: {}
        replies: [{text: "Hola {nombre}"}, hola]
      - replies: []
      - match: {type: imagen}
        reply: [{text: ok}]
      - match: {text: {word: "!!", exact: true}, chat: grupo}
        replies: []
    defaults: []
    default: [{}, {to: "+52155", text: a}]
    """)
    assert set(found) == {
        "/rules/0/match/text/regex",
        "/rules/1/match/typ",
        "/rules/1/replies/0/text/body",
        "/rules/1/replies/1/image",
        "/rules/2/match",
        "/rules/2/replies/0/text",
        "/rules/2/replies/1",
        "/rules/3/match",
        "/rules/4/match/type",
        "/rules/4/replies",
        "/rules/4/reply",
        "/rules/5/match/text/word",
        "/rules/5/match/text/exact",
        "/rules/5/match/chat",
        "/defaults",
        "/default/0",
        "/default/1/to",
    }
    assert "allowed: default, rules" in found["/defaults"]
    assert "{nombre} is not known; there are {name} and {text}" in found["/rules/2/replies/0/text"]
    assert "imagen: no such type; there are text, image" in found["/rules/4/match/type"]
    assert "'a('" in found["/rules/0/match/text/regex"]
    assert "'(?=b)'" in found["/rules/0/match/text/regex"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("rules: [", "is not YAML", id="not YAML"),
        pytest.param("- match: {}", "must be an object", id="a list"),
        pytest.param("hola", "must be an object", id="a word"),
        pytest.param("rules: {}\nrules: {}", "'rules' comes twice", id="a key that comes twice"),
        pytest.param(
            "rules: !!python/object:os.system {}", "is not YAML", id="a tag that would run something"
        ),
    ],
)
def test_a_file_that_is_no_rules_at_all_says_so(text, why):
    with pytest.raises(InvalidRequest, match=why):
        rules(text)


def test_the_path_of_the_file_is_in_the_error(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("default: 7")
    with pytest.raises(InvalidRequest, match=r"rules\.yaml: /default") as caught:
        Rules.load(path, parse_reply)
    assert caught.value.code == "invalid_rules"
    path.write_bytes(b"default: \xff")
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        Rules.load(path, parse_reply)
    with pytest.raises(FileNotFoundError):
        Rules.load(tmp_path / "none.yaml", parse_reply)


# --- the example ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        pytest.param("¡Hola!", "¿En qué te ayudamos?", id="a greeting"),
        pytest.param("Hi there", "How can we help?", id="a greeting in English"),
        pytest.param(BUTTON, "lunes a sábado", id="a tap"),
        pytest.param("¿A qué hora abren?", "lunes a sábado", id="the same, written"),
        pytest.param("cuánto cuesta el envío", "lista de precios", id="prices"),
        pytest.param("DÓNDE ESTÁN", "Tienda Centro", id="where"),
        pytest.param("mi pedido #12345", "Buscamos «mi pedido #12345»", id="an order"),
        pytest.param("Gracias!", "¡A ti, Ana!", id="thanks"),
        pytest.param("👍", "¡A ti, Ana!", id="a thumb"),
        pytest.param(BARE_PHOTO, "Lo recibimos", id="a photo"),
        pytest.param("asdf", "Gracias por escribir, Ana.", id="anything else"),
    ],
)
def test_the_example_answers_as_its_comments_say(content, answer):
    """config/rules.yaml is what a newcomer starts from: it loads, and does what it shows."""
    replies = Rules.load(EXAMPLE, parse_reply).answer(item(content))
    assert answer in str(replies)
    for reply in replies:
        parse_reply(reply)


# --- texts ----------------------------------------------------------------------------------------


@given(st.text())
def test_folding_again_changes_nothing(text):
    assert fold(fold(text)) == fold(text)
    assert trim(trim(fold(text))) == trim(fold(text))


@given(st.text(alphabet="aábnñouü ¡!"))
def test_folding_knows_no_case_and_no_accents(text):
    assert fold(text) == fold(text.upper()) == fold(text.translate(str.maketrans("áñü", "anu")))


@given(st.text(max_size=200))
def test_any_text_may_come_in(text):
    """Whatever a customer writes, an answer comes or none; nothing breaks."""
    everything = rules(
        "rules: [{match: {text: {exact: a, contains: b, word: c, regex: '[^d]e'}}, replies: [{text: '{text}'}]}]"
    )
    everything.answer(item(text))


def test_only_the_beginning_of_a_long_message_is_looked_at():
    assert fits("{text: {contains: hola}}", " " * 990 + "hola")
    assert not fits("{text: {contains: hola}}", "a" * 1000 + "hola")


def test_a_regex_has_a_limit():
    assert fits(f"{{text: {{regex: '{'a' * 500}'}}}}", "a" * 500)
    with pytest.raises(InvalidRequest, match="500 characters"):
        matching(f"{{text: {{regex: '{'a' * 501}'}}}}")


def test_a_lone_surrogate_does_not_break_a_regex():
    assert fits("{text: {regex: 'hola'}}", "hola\ud800")


def test_a_word_ends_at_anything_that_is_no_letter_and_no_digit():
    assert words("a_b, c-3") == " a b c 3 "


def test_no_message_makes_a_regex_run_away():
    """The classic (a+)+$ takes centuries in `re` for this text: this test would not end."""
    assert compiled("(a+)+$").search("a" * 1000 + "b") is None
