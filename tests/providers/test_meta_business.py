"""A whole business account as a session, against a scripted peer: how it connects, and which number sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.providers import meta
from tests.providers.meta import APP_SECRET, GROUP, TOKEN, WABA_ID, message
from tests.providers.waba import (
    OK,
    OWN,
    WABA,
    app,
    blocked,
    desk,
    number,
    refusing,
    stored,
)
from wad.conformance.peer import Script, answering
from wad.errors import InvalidRequest, ProviderError, Verdict
from wad.models import AccountEvent, InboundMessage, Number, StatusUpdate
from wad.providers.http import Pools
from wad.providers.management import NumberView
from wad.providers.meta.account import MetaConfig
from wad.providers.meta.numbers import choose, number_of, numbers_in, shown
from wad.providers.meta_business import MetaBusiness

TWO = [number("1", "+52 55 1234 0001"), number("2", "+52 55 1234 0002")]


# --- connecting -------------------------------------------------------------------------------------


async def test_it_discovers_its_numbers() -> None:
    """All pages of them, with what Meta says of each; and the account's own name."""
    pages = [
        answering(
            200,
            {"data": [TWO[0]], "paging": {"next": "https://x", "cursors": {"after": "next-page"}}},
        ),
        answering(200, {"data": [TWO[1]]}),
    ]
    async with desk() as d:

        async def page(exchange: Any) -> None:
            await pages.pop(0)(exchange)

        d.routes["GET", f"{WABA}/phone_numbers"] = page
        proof = await d.connection.connect()
        assert proof.phone_number is None  # there are two, and nobody said which stands for the session
        assert (proof.data["wabaId"], proof.data["name"]) == (WABA_ID, "Tienda")
        assert [each["phoneNumber"] for each in proof.data["numbers"]] == ["+525512340001", "+525512340002"]
        first = proof.data["numbers"][0]
        assert (first["qualityRating"], first["throughput"], first["canSendMessage"], first["usable"]) == (
            ("GREEN", "STANDARD", "AVAILABLE", True)
        )
        lists = d.asked("GET", "/phone_numbers")
        assert "health_status" in lists[0].query["fields"]
        assert lists[1].query["after"] == "next-page"
        assert lists[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert numbers_in(proof.data) == numbers_in({"numbers": shown(numbers_in(proof.data))})


async def test_an_older_api_is_asked_for_what_it_knows() -> None:
    """It refuses a request for fields that it does not have: then for the few that all versions know."""

    def picky(full: str, body: dict[str, Any]) -> Script:
        async def script(exchange: Any) -> None:
            refused = full in exchange.request.query["fields"]
            await (refusing(100) if refused else answering(200, body))(exchange)

        return script

    async with desk() as d:
        d.routes["GET", WABA] = picky("health_status", {"id": WABA_ID, "name": "Tienda"})
        d.routes["GET", f"{WABA}/phone_numbers"] = picky("health_status", {"data": [{"id": "1"}]})
        proof = await d.connection.connect()
        assert proof.data["numbers"] == [{"id": "1", "usable": True}]


UNUSABLE = [
    ("no number at all", [], {}, "no_number", None),
    ("none that is registered", [number("1", status="DISCONNECTED")], {}, "not_registered", "DISCONNECTED"),
    ("none that may send", [number("1", health_status=blocked())], {}, "account_blocked", "141006"),
    ("an account that may not send", TWO, {"health_status": blocked()}, "account_blocked", "141006"),
]


@pytest.mark.parametrize(
    ("numbers", "account", "code", "provider_code"),
    [row[1:] for row in UNUSABLE],
    ids=[r[0] for r in UNUSABLE],
)
async def test_an_account_that_cannot_send_needs_a_person(
    numbers: list[Any], account: dict[str, Any], code: str, provider_code: str | None
) -> None:
    """And what Meta says will help stands in the reason."""
    async with desk(numbers, **account) as d:
        with pytest.raises(ProviderError) as caught:
            await d.connection.connect()
        assert (caught.value.code, caught.value.provider_code) == (code, provider_code)
        assert caught.value.needs_person
        if code == "account_blocked":
            assert caught.value.detail == "No payment method. Add one."


async def test_one_number_that_cannot_send_does_not_stop_the_others() -> None:
    """It is shown with its trouble, and nothing is sent from it."""
    async with desk([number("1", health_status=blocked()), number("2")]) as d:
        proof = await d.connection.connect()
        troubled, fine = numbers_in(proof.data)
        assert (troubled.usable, fine.usable) == (False, True)
        assert (troubled.troubles[0].solution, troubled.troubles[0].about) == ("Add one.", "WABA")
        await d.connection.send(message())
        assert d.posts[-1] == "2/messages"


NEEDING = [
    ("an account that is not the token's", WABA, 100, "account_unknown"),
    ("a number's list that is refused", f"{WABA}/phone_numbers", 100, "account_unknown"),
    ("a token without the scope", f"{WABA}/phone_numbers", 200, "permission_missing"),
    ("a token that expired", WABA, 190, "bad_credentials"),
]


@pytest.mark.parametrize(
    ("path", "said", "code"), [row[1:] for row in NEEDING], ids=[row[0] for row in NEEDING]
)
async def test_what_a_person_has_to_mend(path: str, said: int, code: str) -> None:
    """Waiting would not help."""
    async with desk() as d:
        d.routes["GET", path] = refusing(said)
        with pytest.raises(ProviderError) as caught:
            await d.connection.connect()
        assert (caught.value.verdict, caught.value.code) == (Verdict.NEEDS_PERSON, code)


async def test_a_named_number_has_to_be_there() -> None:
    """`phoneNumberId` of the credentials; where it is, its number is the session's."""
    async with desk(TWO, of=stored(phoneNumberId="2")) as d:
        assert (await d.connection.connect()).phone_number == "+525512340002"
    async with desk(TWO, of=stored(phoneNumberId="3")) as d:
        with pytest.raises(ProviderError) as caught:
            await d.connection.connect()
        assert (caught.value.needs_person, caught.value.code) == (True, "number_unknown")


async def test_without_a_secret_it_does_not_connect() -> None:
    """Nobody could tell Meta's webhooks from forged ones."""
    async with desk(of=stored(appSecret=None)) as d:
        with pytest.raises(ProviderError) as caught:
            await d.connection.connect()
        assert (caught.value.code, d.peer.received) == ("no_app_secret", [])


# --- subscribing ------------------------------------------------------------------------------------

SUBSCRIBING = [
    ("nobody is subscribed: it subscribes", [], False, [{}]),
    ("somebody is, without an address of its own: once more does no harm", [app()], False, [{}]),
    (
        "an address stands that an empty request would take away: it is left",
        [app("https://crm/x")],
        False,
        [],
    ),
    ("the address that stands is another app's", [app("https://crm/x", of="8")], False, [{}]),
    (
        "the session asks for its own address: it is set",
        [app()],
        True,
        [{"override_callback_uri": OWN, "verify_token": "agreed"}],
    ),
    (
        "another one stands, and the session asks for its own",
        [app("https://crm/x")],
        True,
        [{"override_callback_uri": OWN, "verify_token": "agreed"}],
    ),
    ("its own stands already", [app(OWN)], True, []),
]


@pytest.mark.parametrize(
    ("apps", "override", "posted"), [row[1:] for row in SUBSCRIBING], ids=[row[0] for row in SUBSCRIBING]
)
async def test_it_subscribes_the_app_and_takes_no_address_away(
    apps: list[Any], override: bool, posted: list[dict[str, str]]
) -> None:
    """An empty POST removes an address that stands over the app's own: so it looks first. Once a life."""
    async with desk(apps=apps, of=stored(override=override)) as d:
        d.routes["GET", "/v26.0/app"] = answering(200, {"id": "9"})
        await d.connection.connect()
        await d.connection.connect()
        sent = [msgspec.json.decode(each.body or b"{}") for each in d.asked("POST", "/subscribed_apps")]
        assert sent == posted


async def test_where_nobody_says_which_app_is_its_own_an_address_is_left() -> None:
    """It may be the one that an empty request takes away."""
    async with desk(apps=[app("https://crm/x", of="8")]) as d:
        d.routes["GET", "/v26.0/app"] = refusing(100)
        await d.connection.connect()
        assert d.asked("POST", "/subscribed_apps") == []


REFUSED = [
    ("wad does not know its own address", {"public_url": None}, OK, "callback_refused"),
    (
        "there is no token for the handshake",
        {"of": stored(override=True, verifyToken=None)},
        OK,
        "callback_refused",
    ),
    ("the handshake fails", {}, refusing(2200, "Callback verification failed"), "callback_refused"),
]


@pytest.mark.parametrize(
    ("more", "script", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_an_address_that_cannot_be_set_needs_a_person(
    more: dict[str, Any], script: Script, code: str
) -> None:
    """The session asked to hear of its customers there: being connected without it would be a lie."""
    async with desk(**{"of": stored(override=True), **more}) as d:
        d.routes["POST", f"{WABA}/subscribed_apps"] = script
        with pytest.raises(ProviderError) as caught:
            await d.connection.connect()
        assert (caught.value.needs_person, caught.value.code) == (True, code)


# --- which number -----------------------------------------------------------------------------------


def view(number_id: str, **more: Any) -> NumberView:
    return number_of(number(number_id, **more))


CHOICES = [
    ("the best quality", [view("1", quality_rating="YELLOW"), view("2")], (), "2"),
    ("of one quality the throughput", [view("1"), view("2", throughput={"level": "HIGH"})], (), "2"),
    ("of equals always the same", [view("2"), view("1")], (), "1"),
    (
        "one without limits before a better one",
        [view("1", health_status={"can_send_message": "LIMITED"}), view("2", quality_rating="RED")],
        (),
        "2",
    ),
    (
        "what Meta has no rating for yet before a bad one",
        [view("1", quality_rating="RED"), view("2", quality_rating="UNKNOWN")],
        (),
        "2",
    ),
    ("a preferred one before a better one", [view("1"), view("2", quality_rating="RED")], ("2",), "2"),
    (
        "the first preferred one that can send",
        [view("1"), view("2", status="BANNED"), view("3")],
        ("2", "3"),
        "3",
    ),
    ("the best where the preferred ones cannot", [view("1"), view("2", status="BANNED")], ("2", None), "1"),
    ("none where none can", [view("1", status="PENDING")], ("1",), None),
]


@pytest.mark.parametrize(
    ("numbers", "preferred", "chosen"), [row[1:] for row in CHOICES], ids=[row[0] for row in CHOICES]
)
def test_which_number_is_chosen(
    numbers: list[NumberView], preferred: tuple[str | None, ...], chosen: str | None
) -> None:
    """What Meta has nothing against, then by quality, then by throughput; a preference comes before."""
    found = choose(numbers, *preferred)
    assert (found.id if found else None) == chosen


KNOWN = {
    "numbers": [
        {"id": "1", "phoneNumber": "+521", "usable": True},
        {"id": "2", "phoneNumber": "+522", "usable": True},
    ]
}
FOR = [
    ("asked for by id", "2", None, {}, Number("2", "+522")),
    ("asked for by number", "+522", None, {}, Number("2", "+522")),
    ("the one they wrote to", None, Number("2", "+522"), {}, Number("2", "+522")),
    ("what is asked for before that", "1", Number("2"), {}, Number("1", "+521")),
    ("the credentials'", None, None, {"phoneNumberId": "2"}, Number("2", "+522")),
    (
        "the one they wrote to before the credentials'",
        None,
        Number("1"),
        {"phoneNumberId": "2"},
        Number("1", "+521"),
    ),
    ("one that has left the account", None, Number("9"), {}, Number("1", "+521")),
    ("the best", None, None, {}, Number("1", "+521")),
]


@pytest.mark.parametrize(
    ("asked", "wrote_to", "credentials", "chosen"), [row[1:] for row in FOR], ids=[row[0] for row in FOR]
)
async def test_which_number_a_message_leaves_from(
    asked: str | None, wrote_to: Number | None, credentials: dict[str, str], chosen: Number
) -> None:
    """What is asked for; the one that the customer wrote to; the credentials'; the best."""
    async with Pools() as pools:
        kind = MetaBusiness(MetaConfig(), pools)
        assert kind.number_for(stored(KNOWN, **credentials), asked, wrote_to) == chosen


@pytest.mark.parametrize(
    ("known", "detail"),
    [
        pytest.param(KNOWN, "is not a number of this session, which has +521, +522", id="another's"),
        pytest.param(
            {}, "cannot be looked up: the session has not connected yet", id="before it has connected"
        ),
    ],
)
async def test_a_number_that_is_not_the_sessions_is_refused(known: dict[str, Any], detail: str) -> None:
    """By the field's name, with those there are."""
    async with Pools() as pools:
        with pytest.raises(InvalidRequest) as caught:
            MetaBusiness(MetaConfig(), pools).number_for(stored(known), "+529", None)
        assert [(each.pointer, each.detail) for each in caught.value.errors] == [("/from", detail)]
        assert MetaBusiness(MetaConfig(), pools).number_for(stored({}), None, None) is None


async def test_a_message_leaves_from_its_number() -> None:
    """Whatever else would be better."""
    async with desk(TWO) as d:
        await d.connection.connect()
        await d.connection.send(message(number=Number("2")))
        await d.connection.send(message())
        assert d.posts[-2:] == ["2/messages", "1/messages"]
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message(number=Number("9")))
        assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "no_such_number")


async def test_a_numbers_own_trouble_is_not_the_sessions() -> None:
    """Its messages wait; the session is told, goes on, and gives nothing new to that number."""
    async with desk(TWO) as d:
        await d.connection.connect()
        d.peer.scripts = [refusing(133010, "Not registered")]
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message(number=Number("1")))
        assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "not_registered")
        assert (caught.value.retry_after, caught.value.health) == (60.0, False)
        [proof] = d.heard.proofs
        assert [each.usable for each in numbers_in(proof.data)] == [False, True]
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message(number=Number("1")))
        assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "number_unusable")
        await d.connection.send(message())
        assert d.posts[-1] == "2/messages"
        d.peer.scripts = [refusing(131042, "Payment issue")]  # the account's trouble is the session's
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message())
        assert caught.value.needs_person


async def test_the_last_numbers_trouble_is_the_sessions() -> None:
    """Nothing can go out any more: it waits for a person, as a session of one number does."""
    async with desk() as d:
        await d.connection.connect()
        d.peer.scripts = [refusing(133010, "Not registered")]
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message())
        assert (caught.value.needs_person, caught.value.code) == (True, "not_registered")
        assert d.heard.proofs == []


async def test_what_is_read_and_uploaded_goes_by_a_number() -> None:
    """The one that is named, else the one that stands for all."""
    async with desk(TWO) as d:
        await d.connection.connect()
        d.peer.scripts = [OK, OK, answering(200, {"id": "m1"})]
        await d.connection.of("2").mark_read("wamid.1", typing=False)
        await d.connection.mark_read("wamid.1", typing=False)
        await d.connection.of("2").upload(b"x", mime_type="image/png", filename=None)
        assert d.posts[-3:] == ["2/messages", "1/messages", "2/media"]
        assert d.connection.of(None) is d.connection
        with pytest.raises(ProviderError, match="has no number 9"):
            d.connection.of("9")


async def test_groups_are_those_of_every_number() -> None:
    """A number that may have none does not hide the others'; groups and files are known by ids of their own."""
    async with desk(TWO) as d:
        await d.connection.connect()
        d.routes["GET", "/v26.0/1/groups"] = refusing(131215)
        d.routes["GET", "/v26.0/2/groups"] = answering(200, {"data": {"groups": [{"id": "g1"}]}})
        assert [group.group_id for group in await d.connection.groups()] == ["g1"]
        d.routes["GET", "/v26.0/2/groups"] = refusing(131215)
        with pytest.raises(ProviderError) as caught:
            await d.connection.groups()
        assert caught.value.code == "groups_not_allowed"
        d.peer.scripts = [answering(200, {"id": GROUP.group_id, "subject": "Familia"})]
        assert (await d.connection.group(str(GROUP.group_id))).subject == "Familia"


# --- webhooks ---------------------------------------------------------------------------------------


async def test_webhooks_are_the_accounts_whichever_number_they_speak_of() -> None:
    """A customer's message says which number it came to; statuses and changes of the account come to the session too."""
    told = [
        meta.messages(meta.inbound()),
        meta.statuses({"id": "wamid.1", "status": "sent", "timestamp": "1795521600"}),
        meta.webhook({"event": "APPROVED", "message_template_name": "x"}, "message_template_status_update"),
        meta.webhook({"display_phone_number": "1555", "event": "FLAGGED"}, "phone_number_quality_update"),
        meta.webhook({"event": "ACCOUNT_RESTRICTION"}, "account_update"),
    ]
    async with Pools() as pools:
        kind = MetaBusiness(MetaConfig(), pools)
        assert kind.account_of(stored().credentials) == WABA_ID
        assert kind.webhooks is not None
        found = [event for body in told for event in kind.webhooks.parse(meta.request(body))]
        assert {event.account for event in found} == {WABA_ID}
        inbound, status, *changes = (event.event for event in found)
        assert isinstance(inbound, InboundMessage)
        assert inbound.number == Number(meta.NUMBER_ID, "+15550783881")
        assert isinstance(status, StatusUpdate)
        assert [event.type for event in changes if isinstance(event, AccountEvent)] == [
            "template.status",
            "account.update",
            "account.update",
        ]


async def test_the_app_secret_may_be_the_configurations() -> None:
    """Many accounts of one app share it."""
    async with Pools() as pools:
        kind = MetaBusiness(MetaConfig(app_secret="shared", verify_token="token"), pools)
        assert kind.webhook_secret(stored(appSecret=None)) == "shared"
        assert kind.webhook_secret(stored()) == APP_SECRET
        assert kind.verify_token(None) == "token"
