"""The providers that wad brings. Found as anybody's: by the entry points in pyproject.toml.

Nothing of a provider is imported before one is made: commands that only read the configuration come by here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from wad.config import model
from wad.providers.place import Place
from wad.providers.provider import Provider

if TYPE_CHECKING:
    from wad.providers.base import ProviderKind
    from wad.providers.meta.account import MetaConfig


def _meta(section: model.MetaProvider) -> MetaConfig:
    from wad.providers.meta.account import MetaConfig

    return MetaConfig(
        base_url=section.base_url,
        version=section.version,
        app_secret=_shown(section.app_secret),
        verify_token=_shown(section.verify_token),
        timeout=section.timeout,
    )


def _cloud_api(section: model.CloudApi, place: Place) -> ProviderKind:
    from wad.providers.cloud_api import CloudApi

    return CloudApi(_meta(section), place.pools)


def _meta_business(section: model.MetaBusiness, place: Place) -> ProviderKind:
    from wad.providers.meta_business import MetaBusiness

    return MetaBusiness(_meta(section), place.pools, public_url=place.public_url)


def _dialog360(section: model.Dialog360, place: Place) -> ProviderKind:
    from wad.providers.dialog360 import Dialog360, Dialog360Config

    return Dialog360(Dialog360Config(base_url=section.base_url, timeout=section.timeout), place.pools)


def _twilio(section: model.Twilio, place: Place) -> ProviderKind:
    from wad.providers.twilio.account import TwilioConfig
    from wad.providers.twilio.kind import Twilio

    config = TwilioConfig(
        base_url=section.base_url, region=section.region, edge=section.edge, timeout=section.timeout
    )
    return Twilio(config, place)


def _baileys(section: model.Baileys, place: Place) -> ProviderKind:
    from wad.providers.baileys.kind import Baileys, BaileysConfig

    config = BaileysConfig(
        web_socket_url=section.web_socket_url,
        sessions_per_bridge=section.sessions_per_bridge,
        node=None if section.node is None else str(section.node),
        client_version=section.client_version,
        noise_root_key=section.noise_root_key,
        extra_ca=section.extra_ca,
    )
    return Baileys(config, place)


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


cloud_api: Final = Provider(name="cloud_api", section=model.CloudApi, make=_cloud_api)
meta_business: Final = Provider(name="meta_business", section=model.MetaBusiness, make=_meta_business)
dialog360: Final = Provider(name="dialog360", section=model.Dialog360, make=_dialog360)
twilio: Final = Provider(name="twilio", section=model.Twilio, make=_twilio)
baileys: Final = Provider(name="baileys", section=model.Baileys, make=_baileys)
