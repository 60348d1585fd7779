"""What the configuration says, in the words of each part that it is for."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import SecretStr

from wad.actors.limiter import RATE
from wad.actors.services import Limits, Pace
from wad.config import Config, HttpProvider, ProviderSection
from wad.config.balancing import ShopPolicy
from wad.content import parse_reply
from wad.flow.delivery import FlowDefaults
from wad.flow.rules import Rules
from wad.secrets import Vault
from wad.store.store import Retention
from wad.supervisor.balancer import Policy
from wad.supervisor.placing import Policies
from wad.supervisor.policy import RestartPolicy

_DAY: Final = 86400.0


def vault(config: Config) -> Vault:
    key = config.secrets.master_key
    assert key is not None, "`ensure_secrets`, or the check of the configuration, saw to it"
    return Vault(key.get_secret_value(), [old.get_secret_value() for old in config.secrets.old_master_keys])


def rules(config: Config) -> Rules | None:
    return Rules.load(config.flow.rules, parse_reply) if config.flow.rules else None


def flow_defaults(config: Config) -> FlowDefaults:
    flow = config.flow
    return FlowDefaults(url=flow.url, secret=_shown(flow.secret), events=frozenset(flow.events))


def limits(config: Config) -> Limits:
    of, backoff = config.limits, config.supervisor.backoff
    return Limits(
        queue_per_session=of.queue_per_session,
        bulk_per_session=of.bulk_per_session,
        send_concurrency=of.send_concurrency,
        inbox_concurrency=of.inbox_concurrency,
        message_ttl=timedelta(seconds=of.retry.max_age),
        max_attempts=of.retry.max_attempts,
        settle_window=timedelta(seconds=of.settle_window),
        flow_window=timedelta(seconds=config.flow.max_age),
        fetch=config.media.fetch,
        file_size=config.media.max_size,
        file_ttl=timedelta(seconds=config.media.retention),
        proof_ttl=of.proof_ttl,
        connect_backoff=(backoff.initial, backoff.max),
    )


def pace(section: ProviderSection) -> Pace:
    """How fast a session sends by default. Only APIs over HTTP tell a limit of pairs."""
    rate, is_set = section.rate or RATE, section.rate is not None
    if isinstance(section, HttpProvider):
        return Pace(
            rate=rate,
            is_set=is_set,
            burst=section.burst,
            pair_interval=section.pair_interval,
            pair_burst=section.pair_burst,
        )
    return Pace(rate=rate, is_set=is_set, burst=section.burst, pair_interval=None)


def policies(config: Config) -> Policies:
    """How each shop's sessions share its work."""

    def of(shop: ShopPolicy) -> Policy:
        return Policy(name=shop.policy, weights=shop.weights, order=shop.order, costs=shop.costs)

    shops = {shop_id: of(shop) for shop_id, shop in config.balancing.shops.items()}
    return Policies(default=of(config.balancing.default), shops=shops)


def restart_policy(config: Config) -> RestartPolicy:
    supervisor = config.supervisor
    return RestartPolicy(
        intensity=supervisor.intensity,
        period=supervisor.period,
        initial=supervisor.backoff.initial,
        most=supervisor.backoff.max,
        cooldown=supervisor.cooldown.initial,
        cooldown_most=supervisor.cooldown.max,
    )


def retention(config: Config) -> Retention:
    kept = config.retention
    return Retention(
        messages=kept.messages / _DAY,
        inbox=kept.inbox / _DAY,
        dead_letters=kept.dead_letters / _DAY,
        events=kept.events / _DAY,
    )


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
