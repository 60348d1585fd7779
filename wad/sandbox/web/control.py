"""The control API under `/_sandbox/web`: hold phones, link clients, talk as anybody, and make things go wrong."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from quart import Blueprint, Response, request

from wad.sandbox.bodies import Body, body, control_blueprint
from wad.sandbox.graph import answered
from wad.sandbox.ids import digits_of
from wad.sandbox.web import words as w
from wad.sandbox.web.emulator import NotRunning
from wad.sandbox.web.web import Web

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

#: What is asked in the emulator's own words: path → body, and the emulator's name for it.
_CALLS: Final[dict[str, tuple[type[Body], str]]] = {
    "scan": (w.ScanSpec, "scan"),
    "pairing-code": (w.CodeSpec, "enter_code"),
    "unlink": (w.UnlinkSpec, "unlink"),
    "ban": (w.BanSpec, "ban"),
    "replace": (w.AboutPhone, "replace"),
    "drop": (w.DropSpec, "drop"),
    "mute": (w.MuteSpec, "mute"),
    "faults": (w.WebFaultSpec, "fault"),
    "stop-acks": (w.MuteSpec, "stop_acks"),
    "lose-session": (w.LoseSessionSpec, "contact_lose_session"),
    "read": (w.ReadSpec, "read"),
    "typing": (w.TypingSpec, "type"),
    "online": (w.OnlineSpec, "online"),
}
#: The same for one group: `/web/groups/<id>/<path>`.
_GROUP_CALLS: Final[dict[str, tuple[type[Body], str]]] = {
    "add": (w.MembersSpec, "group_add"),
    "remove": (w.MembersSpec, "group_remove"),
    "rank": (w.RankSpec, "group_rank"),
    "subject": (w.SubjectSpec, "group_subject"),
}


def web_routes(sandbox: Sandbox) -> Blueprint:
    routes = control_blueprint("web")

    @routes.errorhandler(NotRunning)
    async def not_running(error: NotRunning) -> Response:
        return answered(503, {"error": str(error)})

    def web() -> Web:
        if sandbox.web is None:
            raise NotRunning("this sandbox was started without WhatsApp Web")
        return sandbox.web

    async def ask(name: str, args: dict[str, Any]) -> Response:
        return answered(200, await web().emulator.call(name, args))

    @routes.get("/web")
    async def state() -> Response:
        here = web()
        return answered(200, here.described() | (await here.state() if here.running else {}))

    @routes.post("/web/start")
    async def start() -> Response:
        """Have a new emulator in place of one that has ended."""
        await web().emulator.start_again()
        return answered(200, web().described())

    @routes.route("/web/settings", methods=["GET", "PATCH"])
    async def settings() -> Response:
        changes = await body(w.SettingsSpec) if request.method == "PATCH" else w.SettingsSpec()
        return await ask("settings", msgspec.to_builtins(changes))

    # --- people -----------------------------------------------------------------------------------

    @routes.post("/web/phones")
    async def hold() -> Response:
        """A phone of one's own, to link clients with."""
        spec = await body(w.PhoneSpec)
        return await named(web().hold(spec.phone, spec.name))

    @routes.post("/web/contacts")
    async def meet() -> Response:
        spec = await body(w.ContactSpec)
        digits = web().meet(spec.phone, spec.name)
        if spec.on_whatsapp is not None:
            await web().emulator.call("register" if spec.on_whatsapp else "unregister", {"phone": digits})
        behaviour = w.words(spec)
        for name in ("phone", "name", "onWhatsapp"):
            behaviour.pop(name, None)
        await web().emulator.call("settings", {"phone": digits, **behaviour})
        return await named(digits)

    async def named(digits: str) -> Response:
        name = web().name_of(digits)
        await web().emulator.call("settings", {"phone": digits, "name": name})
        if sandbox.feed.watched:
            sandbox.feed.tell({"event": "web", "what": "people"})
        return answered(200, {"phone": digits, "name": name})

    async def act(kind: type[Body], call: str) -> Response:
        return await ask(call, w.words(await body(kind)))

    for path, (kind, call) in _CALLS.items():
        routes.add_url_rule(f"/web/{path}", path, partial(act, kind, call), methods=["POST"])

    # --- groups -----------------------------------------------------------------------------------

    @routes.post("/web/groups")
    async def make_group() -> Response:
        made = await web().emulator.call("group_create", w.words(await body(w.WebGroupSpec)))
        return answered(201, {"groupId": made["id"]})

    @routes.post("/web/groups/<group_id>/<any('add', 'remove', 'rank', 'subject'):change>")
    async def change_group(group_id: str, change: str) -> Response:
        kind, call = _GROUP_CALLS[change]
        return await ask(call, w.words(await body(kind), id=group_id))

    # --- what is said -----------------------------------------------------------------------------

    @routes.post("/web/say")
    async def say() -> Response:
        return await ask("say", w.sentence(web(), await body(w.SaySpec)))

    @routes.post("/web/files")
    async def add_file() -> Response:
        """A file to say: the body is the file."""
        data = cast("bytes", await request.get_data(as_text=False))
        return answered(201, {"file": web().keep_file(data).name})

    @routes.get("/web/messages")
    async def messages() -> Response:
        """What became of each message that changed after `after`, from the emulator's own record."""
        return await ask("ledger", {"after": int(request.args.get("after", 0))})

    @routes.get("/web/chats")
    async def chats() -> Response:
        await web().look()
        return answered(200, {"chats": web().mirror.last(digits_of(request.args.get("phone", "")))})

    @routes.get("/web/chat")
    async def chat() -> Response:
        await web().look()
        phone = digits_of(request.args.get("phone", ""))
        return answered(200, {"messages": web().mirror.chat(phone, request.args.get("chat", ""))})

    return routes
