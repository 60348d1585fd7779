"""WhatsApp Web with a real Baileys: paired by the phone one holds, talked to, and counted."""

from __future__ import annotations

from pathlib import Path

from tests.sandbox.web.place import ANA, PHONE, linked, needs_node, record, text_in

pytestmark = needs_node


async def test_a_phone_scans_and_the_two_talk(tmp_path: Path) -> None:
    """The QR's text is all it takes; both ways are in the ledger, with what became of them."""
    async with linked(tmp_path) as (here, client):
        [phone] = (await here.control("GET", "web"))["phones"]
        assert [each["connected"] for each in phone["clients"]] == [True]
        said = await here.post("web/say", {"from": f"+{ANA}", "to": PHONE, "text": "hola"})
        await client.until("messages", text_in("hola"))
        entry = await record(here, said["id"], lambda each: each["received"])
        assert (entry["direction"], entry["account"], entry["from"]) == ("in", PHONE, ANA)
        sent = "3EB0AAAAAAAAAAAAAAAAAA"
        await client.send(f"{ANA}@s.whatsapp.net", {"text": "¡hola Ana!"}, name=sent)
        entry = await record(here, sent, lambda each: "delivered" in each["receipts"].get(ANA, {}))
        seen = entry["recipients"][ANA]
        assert (entry["sent"], seen["shown"], seen["content"]["text"]) == (1, 1, "¡hola Ana!")
        await here.post("web/read", {"by": ANA, "to": PHONE, "ids": [sent]})
        await record(here, sent, lambda each: "read" in each["receipts"][ANA])
