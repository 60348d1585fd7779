"""An account's message templates: listed, created, edited, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from wad.providers.http import Answer
from wad.providers.management import TemplatePage, Templates, TemplateView
from wad.providers.meta.graph import Graph
from wad.providers.meta.inbound import from_meta
from wad.providers.meta.send import to_meta
from wad.providers.rules import garbled
from wad.providers.webhooks import is_plain

_FIELDS: Final = "id,name,status,category,language,components,parameter_format,quality_score,rejected_reason"


class MetaTemplates(Templates):
    """The templates of the account that *graph* stands for: its `number` is the path of the account."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._path = f"{graph.account.number}/message_templates"

    async def find(self, filters: Mapping[str, str], *, limit: int, after: str | None) -> TemplatePage:
        query = {"fields": _FIELDS, "limit": str(limit), **filters}
        if after is not None:
            query["after"] = after
        return await self._graph.get("templates", self._graph.account.url(self._path, **query), self._page)

    async def create(self, body: Mapping[str, Any]) -> TemplateView:
        url = self._graph.account.url(self._path)
        made = await self._graph.post("template_create", url, to_meta(dict(body)), self._made)
        return msgspec.structs.replace(made, name=body.get("name"), language=body.get("language"))

    async def edit(self, template_id: str, body: Mapping[str, Any]) -> None:
        account = self._graph.account
        url = account.url(f"{account.root}/{quote(template_id, safe='')}")
        await self._graph.post("template_edit", url, to_meta(dict(body)), self._graph.object, repeatable=True)

    async def delete(self, name: str, *, template_id: str | None) -> None:
        query = {"name": name} if template_id is None else {"name": name, "hsm_id": template_id}
        await self._graph.delete("template_delete", self._graph.account.url(self._path, **query))

    def _made(self, answer: Answer) -> TemplateView:
        made = self._graph.object(answer)
        if not isinstance(made.get("id"), str):
            raise garbled(answer)
        return _view(made)

    def _page(self, answer: Answer) -> TemplatePage:
        items, after = self._graph.page(answer)
        return TemplatePage([_view(item) for item in items if isinstance(item.get("id"), str)], after)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _view(item: dict[str, Any]) -> TemplateView:
    components = item.get("components")
    quality = item.get("quality_score")
    return TemplateView(
        id=item["id"],
        name=_text(item.get("name")),
        language=_text(item.get("language")),
        category=_text(item.get("category")),
        status=_text(item.get("status")),
        parameter_format=_text(item.get("parameter_format")),
        quality=_text(quality.get("score")) if isinstance(quality, dict) else None,
        rejected_reason=_text(item.get("rejected_reason")),
        components=[from_meta(each) for each in components if isinstance(each, dict) and is_plain(each)]
        if isinstance(components, list)
        else [],
    )
