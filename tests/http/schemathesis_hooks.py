"""A check of our own: what fits the schema is refused only for what a schema cannot say."""

import re

import schemathesis

#: The fields that name things which may not be there, or which somebody else's rules are about.
_UNSAYABLE = re.compile(
    r"/(provider|credentials(/.*)?|settings/(flowUrl|baseUrl|flowSecret)|expiresAt|sendAt|replyTo"
    r"|reaction/messageId|[a-z]+/mediaId|sessionId|from|file)"
)


@schemathesis.check
def refusals_are_about_the_world(ctx, response, case):
    """`errors` of a 422 to a schema-valid request point at what no schema can know."""
    if response.status_code != 422 or case.meta is None or case.meta.generation.mode.is_negative:
        return
    problem = response.json()
    if problem["code"] in ("not_supported", "idempotency_key_reused"):
        return
    for error in problem["errors"]:
        assert _UNSAYABLE.fullmatch(error["pointer"]), f"the schema allows it, and the API does not: {error}"
