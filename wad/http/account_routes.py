"""The part of the API that is about a business account, as a table; `wad.http.routes` has the rest."""

from __future__ import annotations

from typing import Any, Final

from wad.http import account
from wad.http.account_bodies import (
    CodeBody,
    CodeRequestBody,
    NewNumberBody,
    NewTemplateBody,
    PinBody,
    ProfileChange,
    ProfileQuery,
    RegisterBody,
    TemplateChange,
    TemplateDeletion,
    TemplateQuery,
    WebhookBody,
)
from wad.http.operations import Handler, Operation, Result, json_body
from wad.providers.management import NumberView, ProfileView, TemplateView
from wad.validation import Model

_SESSION: Final = "/api/whatsapp/sessions/{sessionId}"
_NUMBER: Final = f"{_SESSION}/numbers/{{number}}"
#: No such session, or number; the account needs a person; the provider cannot do that, or would not.
_PROBLEMS: Final = frozenset({404, 409, 422, 502})
_DONE: Final = {204: Result("Done", media_type=None)}


def _operation(
    name: str,
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    *,
    body: type[Model] | None = None,
    **more: Any,
) -> Operation:
    return Operation(
        id=name,
        method=method,
        path=path,
        tag="business account",
        summary=summary,
        handler=handler,
        body=json_body(body) if body is not None else None,
        problems=_PROBLEMS,
        **{"answers": _DONE, **more},
    )


ACCOUNT_ROUTES: Final[tuple[Operation, ...]] = (
    # --- numbers
    _operation(
        "listNumbers",
        "GET",
        f"{_SESSION}/numbers",
        account.numbers,
        "The account's numbers, as its provider sees them now",
        answers={200: Result("The numbers", account.NumberList)},
    ),
    _operation(
        "addNumber",
        "POST",
        f"{_SESSION}/numbers",
        account.add_number,
        "Add a number; it has to be verified and registered before it can send",
        body=NewNumberBody,
        answers={
            201: Result("Added", account.NewNumber, headers={"Location": "Where the number is"}),
        },
    ),
    _operation(
        "getNumber",
        "GET",
        _NUMBER,
        account.number,
        "One number, by its provider's id or in E.164",
        answers={200: Result("The number", NumberView)},
    ),
    _operation(
        "requestNumberCode",
        "POST",
        f"{_NUMBER}/request-code",
        account.request_code,
        "Have the code that proves the number sent to it",
        body=CodeRequestBody,
    ),
    _operation(
        "verifyNumberCode",
        "POST",
        f"{_NUMBER}/verify-code",
        account.verify_code,
        "Give the code that came",
        body=CodeBody,
    ),
    _operation(
        "registerNumber",
        "POST",
        f"{_NUMBER}/register",
        account.register,
        "Make it able to send; ten times in 72 hours at most",
        body=RegisterBody,
    ),
    _operation(
        "deregisterNumber",
        "POST",
        f"{_NUMBER}/deregister",
        account.deregister,
        "Make it unable to send",
    ),
    _operation(
        "setNumberPin",
        "PUT",
        f"{_NUMBER}/pin",
        account.set_pin,
        "Set the pin of its two-step verification",
        body=PinBody,
    ),
    _operation(
        "setNumberWebhook",
        "PUT",
        f"{_NUMBER}/webhook",
        account.set_number_webhook,
        "Have its messages told at an address of their own: wad's for the session, if none is given",
        body=WebhookBody,
        answers={200: Result("The address that stands now", account.WebhookView)},
    ),
    _operation(
        "removeNumberWebhook",
        "DELETE",
        f"{_NUMBER}/webhook",
        account.remove_number_webhook,
        "Take that address away",
    ),
    # --- where the account's events are told
    _operation(
        "getWebhook",
        "GET",
        f"{_SESSION}/webhook",
        account.subscriptions,
        "The apps that hear of the account, and where",
        answers={200: Result("The subscriptions", account.SubscriptionList)},
    ),
    _operation(
        "setWebhook",
        "PUT",
        f"{_SESSION}/webhook",
        account.set_webhook,
        "Have the account's events told at an address of their own: wad's for the session, if none is given",
        body=WebhookBody,
        answers={200: Result("The address that stands now", account.WebhookView)},
    ),
    _operation(
        "removeWebhook",
        "DELETE",
        f"{_SESSION}/webhook",
        account.remove_webhook,
        "Have them told where the app's own settings say",
    ),
    # --- templates
    _operation(
        "listTemplates",
        "GET",
        f"{_SESSION}/templates",
        account.templates,
        "The account's message templates",
        query=TemplateQuery,
        answers={200: Result("A part of the list", account.TemplateList)},
    ),
    _operation(
        "createTemplate",
        "POST",
        f"{_SESSION}/templates",
        account.create_template,
        "Make a template; its approval comes as the event template.status",
        body=NewTemplateBody,
        answers={201: Result("Made, and to be reviewed", TemplateView)},
    ),
    _operation(
        "deleteTemplate",
        "DELETE",
        f"{_SESSION}/templates",
        account.delete_template,
        "Delete a template by name: in all its languages, or in one",
        query=TemplateDeletion,
    ),
    _operation(
        "editTemplate",
        "PATCH",
        f"{_SESSION}/templates/{{templateId}}",
        account.edit_template,
        "Change a template; it is reviewed again",
        body=TemplateChange,
    ),
    # --- profiles
    _operation(
        "getProfile",
        "GET",
        f"{_SESSION}/profile",
        account.profile,
        "How a number presents itself to customers",
        query=ProfileQuery,
        answers={200: Result("The profile", ProfileView)},
    ),
    _operation(
        "changeProfile",
        "PATCH",
        f"{_SESSION}/profile",
        account.change_profile,
        "Change it; what is left out stays",
        query=ProfileQuery,
        body=ProfileChange,
        answers={200: Result("The profile as it is now", ProfileView)},
    ),
)
