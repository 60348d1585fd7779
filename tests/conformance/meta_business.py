"""What a whole business account brings to the conformance suite: Meta's words, and a number that is chosen."""

from __future__ import annotations

import msgspec

from tests.conformance.providers import CloudApiHarness
from tests.providers import meta
from wad.conformance.peer import Exchange, Script, answering
from wad.models import Credentials, Session, WebhookRequest
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.providers.meta_business import MetaBusiness

NUMBER = {"id": meta.NUMBER_ID, "display_phone_number": "+1 555-078-3881", "status": "CONNECTED"}
TEMPLATE = {"id": "t1", "name": "saludo", "language": "es_MX", "category": "MARKETING", "status": "APPROVED"}


class MetaBusinessHarness(CloudApiHarness):
    name = "meta_business"
    required = frozenset({"accessToken", "wabaId"})

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> MetaBusiness:
        return MetaBusiness(MetaConfig(base_url=base_url, timeout=seconds), pools)

    def session(self) -> Session:
        """One that has connected before: it knows its number."""
        held = Credentials(accessToken=meta.TOKEN, wabaId=meta.WABA_ID, appSecret=meta.APP_SECRET)
        known = {"numbers": [{"id": meta.NUMBER_ID, "phoneNumber": "+15550783881", "usable": True}]}
        return msgspec.structs.replace(
            meta.session(), provider=self.name, credentials=held, connection_data=known
        )

    def proves(self) -> Script:
        """The account itself, its numbers, and who hears of it."""

        async def answer(exchange: Exchange) -> None:
            match exchange.request.path.rpartition("/")[2]:
                case "phone_numbers":
                    body: object = {"data": [NUMBER]}
                case "subscribed_apps":
                    body = {"data": [{"whatsapp_business_api_data": {"id": "1", "name": "wad"}}]}
                case _:
                    body = {"id": meta.WABA_ID, "name": "Tienda"}
            await answering(200, body)(exchange)

        return answer

    def lists_numbers(self) -> Script:
        return answering(200, {"data": [{**NUMBER, "id": "n1"}]})

    def lists_templates(self) -> Script:
        return answering(200, {"data": [TEMPLATE]})

    def webhook(self, body: bytes) -> WebhookRequest:
        url = "https://wa.example.com/webhooks/meta_business/s1"
        return WebhookRequest(url=url, headers=meta.signature(body), body=body)
