"""What an operator does with the console, in a real browser, against a real daemon and the simulated WhatsApp."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.console.conftest import Desk, World

ANA = "+5215512345678"


# --- signing in -----------------------------------------------------------------------------------


def test_a_wrong_token_is_told_and_the_right_one_lets_in(desk: Desk) -> None:
    """The focus goes where the mistake is; the tab remembers a right token, and forgets it on signing out."""
    page = desk.page
    desk.open(signed_in=False)
    field = page.get_by_label("API token")
    desk.expect(field).to_be_focused()
    desk.sign_in("wad_wrong")
    desk.expect(page.get_by_text("This token is not known here.")).to_be_visible()
    desk.expect(field).to_have_attribute("aria-invalid", "true")
    desk.expect(field).to_be_focused()
    assert [each.split()[0] for each in desk.refused] == ["401"]
    desk.sign_in()
    desk.expect(page.get_by_role("heading", name="Sessions", level=1)).to_be_focused()
    desk.is_live()
    page.reload()
    desk.is_live()
    desk.button("Sign out").click()
    desk.expect(page.get_by_text("Signed out.")).to_be_visible()
    page.reload()
    desk.expect(field).to_be_visible()
    assert page.evaluate("sessionStorage.length + Object.keys(localStorage).join()") == "0"


def test_a_token_that_is_no_longer_accepted_leads_back_to_the_door(desk: Desk) -> None:
    """Whatever was shown is gone, and the page says why."""
    desk.page.add_init_script("sessionStorage.setItem('wad.token', 'wad_was_right_once')")
    desk.open("#/messages", signed_in=False)
    desk.expect(desk.page.get_by_text("Your token is no longer accepted. Sign in again.")).to_be_visible()
    desk.expect(desk.page.get_by_label("API token")).to_be_focused()
    desk.expect(desk.page.get_by_role("navigation")).to_be_hidden()


# --- the list ---------------------------------------------------------------------------------------


def test_the_list_is_drawn_by_one_request_however_many_sessions_there_are(desk: Desk, world: World) -> None:
    """Every few seconds, for as long as the page is open: one for each row would be a load of its own."""
    page = desk.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition("/api/whatsapp")[2]))
    for name in ("listed-1", "listed-2"):
        world.session(name)
    desk.open()
    row = page.get_by_role("row").filter(has_text="listed-2")
    desk.expect(row.get_by_text("connected")).to_be_visible()
    desk.expect(row.locator('[data-label="Breaker"]')).to_have_text("closed")
    with page.expect_response("**/api/whatsapp/sessions*"):
        pass  # the next look
    assert [path for path in asked if path.startswith("/sessions/")] == []


# --- a session ------------------------------------------------------------------------------------


def test_a_session_is_created_connects_sends_and_hears_its_customer(desk: Desk, world: World) -> None:
    """The first quarter of an hour of every newcomer, without a command line."""
    page = desk.page
    credentials = world.number("tienda-nueva")
    desk.open()
    desk.button("New session").click()
    dialog = page.get_by_role("dialog", name="New session")
    dialog.get_by_label("Provider").select_option("cloud_api")
    dialog.get_by_label("Session id").fill("tienda-nueva")
    dialog.get_by_label("Phone number id").fill(credentials["phoneNumberId"])
    dialog.get_by_label("Access token").fill(credentials["accessToken"])
    dialog.get_by_label("App secret").fill(credentials["appSecret"])
    dialog.get_by_label("Verify token").fill(credentials["verifyToken"])
    desk.photograph("new-session")
    dialog.get_by_role("button", name="Create").click()
    desk.expect(page.get_by_role("heading", name="tienda-nueva", level=1)).to_be_visible()
    desk.expect(page.locator(".now .chip")).to_have_text("connected")
    desk.expect(page.get_by_text("Business", exact=False).first).to_be_visible()  # what the provider told
    assert credentials["accessToken"] not in page.content()

    world.listen("tienda-nueva", credentials)
    page.get_by_label("To", exact=True).fill("+52 1 55 1234 5678")
    page.get_by_role("textbox", name="Text", exact=True).fill("Tu pedido está listo")
    desk.button("Send").click()
    steps = page.locator(".outcome .steps .chip")
    desk.expect(steps).to_have_text(["queued", "sending", "accepted", "sent", "delivered", "read"])
    world.writes(credentials, ANA, "¿Siguen abiertos?")
    log = page.get_by_role("list", name="Live log")
    desk.expect(log.get_by_text("¿Siguen abiertos?")).to_be_visible()
    desk.photograph("session")

    page.get_by_role("link", name="The message").click()
    desk.expect(page.get_by_role("heading", name="Message", level=1)).to_be_focused()
    desk.expect(page.locator(".steps .chip").last).to_have_text("read")
    desk.expect(page.get_by_text("Tu pedido está listo", exact=True)).to_be_visible()
    assert desk.refused == []


def test_what_is_wrong_with_a_new_session_stands_at_its_fields(desk: Desk) -> None:
    """All of it, at once; the dialog stays, and the focus is on the first."""
    page = desk.page
    desk.open()
    desk.button("New session").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Provider").select_option("cloud_api")
    dialog.get_by_label("Session id").fill("with spaces")
    desk.button("Create").click()
    desk.expect(dialog.get_by_label("Session id")).to_be_focused()
    desk.expect(dialog.get_by_label("Session id")).to_have_attribute("aria-invalid", "true")
    desk.expect(dialog.get_by_text("must be up to 64 letters", exact=False)).to_be_visible()
    dialog.get_by_label("Session id").fill("without-credentials")
    desk.button("Create").click()
    for label in ("Phone number id", "Access token"):
        desk.expect(dialog.get_by_label(label)).to_have_attribute("aria-invalid", "true")
    desk.expect(dialog.get_by_label("Phone number id")).to_be_focused()
    page.keyboard.press("Escape")
    desk.expect(dialog).to_be_hidden()
    desk.expect(desk.button("New session")).to_be_focused()


def test_a_session_that_waits_for_a_person_says_for_what_and_takes_it(desk: Desk, world: World) -> None:
    """The list and the session show why and what to do; new credentials are all it takes."""
    page = desk.page
    credentials = world.number("token-gone")
    body = {**credentials, "accessToken": "EAAexpired"}
    world.api(
        "POST", "/sessions", json={"sessionId": "token-gone", "provider": "cloud_api", "credentials": body}
    )
    desk.open()
    row = page.get_by_role("row").filter(has_text="token-gone")
    desk.expect(row.get_by_text("bad credentials", exact=True)).to_be_visible()
    desk.expect(row.get_by_text("Give it a new access token.")).to_be_visible()
    page.get_by_label("State").select_option("bad credentials")
    desk.expect(page.locator("tbody .chip").get_by_text("connected", exact=True)).to_have_count(0)
    desk.expect(row).to_be_visible()
    page.get_by_label("State").select_option("failed")
    desk.expect(page.get_by_text("No session is like that.")).to_be_visible()
    page.get_by_label("State").select_option("all")
    row.get_by_role("link").click()
    desk.expect(page.get_by_text("Give it a new access token.")).to_be_visible()

    page.get_by_label("To", exact=True).fill(ANA)
    page.get_by_role("textbox", name="Text", exact=True).fill("hola")
    desk.button("Send").click()
    desk.expect(page.get_by_role("alert").get_by_text("Session unavailable")).to_be_visible()

    desk.button("New credentials").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Access token").fill(credentials["accessToken"])
    dialog.get_by_role("button", name="Save").click()
    desk.expect(page.locator(".now .chip")).to_have_text("connected")
    desk.expect(page.get_by_text("Give it a new access token.")).to_be_hidden()


def test_a_session_is_disconnected_connected_and_deleted(desk: Desk, world: World) -> None:
    """Each button leads to what it says; what cannot be taken back is asked first, and Cancel cancels."""
    page = desk.page
    world.session("short-lived")
    desk.open("#/sessions/short-lived")
    state = page.locator(".now .chip")
    desk.expect(state).to_have_text("connected")
    desk.expect(desk.button("Log out")).to_be_hidden()  # there is nothing to unpair
    desk.button("Disconnect").click()
    desk.expect(state).to_have_text("disconnected")
    desk.expect(page.get_by_role("heading", level=1)).to_be_focused()  # its button is gone
    desk.button("Connect").click()
    desk.expect(state).to_have_text("connected")
    desk.button("Delete").click()
    desk.expect(page.get_by_role("dialog", name="Delete short-lived?")).to_be_visible()
    desk.expect(desk.button("Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    desk.expect(page.get_by_role("dialog")).to_be_hidden()
    assert world.api("GET", "/sessions/short-lived/status")["state"] == "connected"
    desk.button("Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    desk.expect(page.get_by_role("heading", name="Sessions", level=1)).to_be_focused()
    desk.expect(page.get_by_role("link", name="short-lived")).to_have_count(0)
    page.goto(f"{world.url}/#/sessions/short-lived")
    desk.expect(page.get_by_role("alert").get_by_text("Not found")).to_be_visible()


# --- messages and the log -------------------------------------------------------------------------


def test_what_customers_write_is_text_and_nothing_else(desk: Desk, world: World) -> None:
    """In the log, the lists and the message: a page that believed it would run it."""
    page = desk.page
    hostile = "<img src=x onerror=\"document.title='owned'\"><b>hola</b>"
    credentials = world.session("hostile")
    desk.open("#/log")
    desk.is_live()
    world.control("POST", "/customers", phone="+5215500000666", name=hostile)
    world.writes(credentials, "+5215500000666", hostile)
    log = page.get_by_role("list", name="Live log")
    desk.expect(log.get_by_text(f"+5215500000666: {hostile}")).to_be_visible()
    log.locator("summary").first.click()
    desk.expect(log.locator("pre")).to_contain_text("onerror")
    log.get_by_role("link", name="Open the message").click()
    desk.expect(page.locator(".said")).to_have_text(hostile)
    page.get_by_role("link", name="Messages", exact=True).click()
    desk.expect(page.get_by_text(hostile, exact=True).first).to_be_visible()
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


def test_the_log_is_filtered_paused_and_bounded(desk: Desk, world: World) -> None:
    """By session and type over what is kept; paused it only counts; it never holds more than 500."""
    page = desk.page
    one, two = world.session("log-one"), world.session("log-two")
    desk.open("#/log")
    desk.is_live()
    log = page.get_by_role("list", name="Live log")
    entries = log.locator("li")
    world.writes(one, ANA, "to one")
    world.writes(two, ANA, "to two")
    desk.expect(log.get_by_text("to one")).to_be_visible()
    desk.expect(log.get_by_text("to two")).to_be_visible()
    page.get_by_label("Session").fill("log-two")
    desk.expect(log.get_by_text("to one")).to_have_count(0)
    desk.expect(log.get_by_text("to two")).to_be_visible()
    page.get_by_label("Type").select_option("message.status")
    desk.expect(entries).to_have_count(0)
    page.get_by_label("Type").select_option("")
    page.get_by_label("Session").fill("")
    desk.expect(log.get_by_text("to one")).to_be_visible()

    desk.button("Pause").click()
    world.writes(one, ANA, "while paused")
    desk.expect(page.get_by_text("Paused: 1 more came.")).to_be_visible()
    desk.expect(log.get_by_text("while paused")).to_have_count(0)
    desk.button("Go on").click()
    desk.expect(log.get_by_text("while paused")).to_be_visible()
    desk.button("Clear").click()
    desk.expect(entries).to_have_count(0)

    bodies = [{"sessionId": "log-one", "to": f"+52155{n:08}", "text": "many"} for n in range(150)]
    world.api("POST", "/send-bulk", json={"messages": bodies})
    desk.expect(entries).to_have_count(500)
    world.writes(two, ANA, "the last")
    desk.expect(log.get_by_text("the last")).to_be_visible()
    desk.expect(entries).to_have_count(500)


def test_messages_are_found_by_what_one_knows_of_them(desk: Desk, world: World) -> None:
    """Filters of the API, the list stays while one reads, and says that there is more."""
    page = desk.page
    credentials = world.session("finding")
    world.api("POST", "/send", json={"sessionId": "finding", "to": "+5215500000100", "text": "para ti"})
    world.writes(credentials, "+5215500000101", "de mí")
    desk.open("#/messages")
    page.get_by_label("Session").fill("finding")
    desk.button("Search").click()
    rows = page.locator("tbody tr")
    desk.expect(rows).to_have_count(2)
    page.get_by_label("Direction").select_option("received")
    desk.button("Search").click()
    desk.expect(rows).to_have_count(1)
    desk.expect(rows).to_contain_text("de mí")
    page.get_by_label("Direction").select_option("all")
    page.get_by_label("To", exact=True).fill("+5215500000100")
    desk.button("Search").click()
    desk.expect(rows).to_contain_text(["para ti"])
    page.get_by_label("Since").fill("2030-01-01T00:00")
    desk.button("Search").click()
    desk.expect(page.get_by_text("No message is like that.")).to_be_visible()
    world.writes(credentials, "+5215500000101", "otra")
    desk.expect(page.get_by_role("button", name="happened since", exact=False)).to_be_visible()
    page.get_by_label("To", exact=True).fill("ten thousand")
    page.get_by_label("Since").fill("")
    desk.button("Search").click()
    desk.expect(page.get_by_text("No message is like that.")).to_be_visible()


def test_a_scheduled_message_can_be_stopped(desk: Desk, world: World) -> None:
    """Until it goes out."""
    page = desk.page
    world.session("later")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"sessionId": "later", "to": ANA, "text": "mañana", "sendAt": tomorrow}
    message = world.api("POST", "/send", json=body)["messageId"]
    desk.open(f"#/messages/{message}")
    desk.expect(page.locator(".now .chip")).to_have_text("scheduled")
    desk.button("Do not send it").click()
    desk.expect(page.locator(".now .chip")).to_have_text("cancelled")
    desk.expect(page.get_by_role("heading", level=1)).to_be_focused()


# --- dead letters ---------------------------------------------------------------------------------


def test_a_dead_letter_is_retried_and_another_deleted(desk: Desk, world: World) -> None:
    """It says why each gave up; a new one is announced wherever one is; the retried one is delivered."""
    page = desk.page
    world.session("letters")
    desk.open()
    desk.is_live()
    message = world.dead_letter("letters", "+5215500000200", "segunda oportunidad")
    badge = page.get_by_role("link", name="Dead letters 1 new")
    desk.expect(badge).to_be_visible()
    world.dead_letter("letters", "+5215500000201", "sin remedio")
    page.get_by_role("link", name="Dead letters").click()
    letters = page.locator(".letter")
    again = letters.filter(has_text="segunda oportunidad")
    hopeless = letters.filter(has_text="sin remedio")
    desk.expect(again.get_by_text("recipient_not_allowed")).to_be_visible()
    desk.expect(page.locator("#new-dead")).to_be_hidden()
    desk.photograph("dead-letters")
    again.get_by_role("button", name="Retry").click()
    desk.expect(page.get_by_text("On its way again", exact=False)).to_be_visible()
    desk.expect(again).to_have_count(0)
    hopeless.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    desk.expect(hopeless).to_have_count(0)
    page.goto(f"{world.url}/#/messages/{message}")
    desk.expect(page.locator(".now .chip")).to_have_text("read")


def test_the_text_of_the_stream_may_be_cut_anywhere(desk: Desk) -> None:
    """The reader of frames gives the same events for every way to cut them."""
    desk.open(signed_in=False)
    stream = ': hi\r\nretry: 250\n\nid: 7\r\nevent: a\r\ndata: {"x":\r\ndata: 1}\r\n\r\nid: 8\ndata:  ñ\n\n\ndata: cut'
    told = desk.page.evaluate(
        """async (text) => {
            const { Frames } = await import("/console/stream.js");
            const all = [];
            for (let size = 1; size <= text.length; size += 1) {
              const frames = new Frames();
              const events = [];
              for (let at = 0; at < text.length; at += size) events.push(...frames.push(text.slice(at, at + size)));
              all.push(JSON.stringify([events, frames.retry]));
            }
            return [...new Set(all)].map((each) => JSON.parse(each));
        }""",
        stream,
    )
    assert told == [
        [
            [{"id": "7", "type": "a", "data": '{"x":\n1}'}, {"id": "8", "type": "message", "data": " ñ"}],
            250,
        ]
    ]
