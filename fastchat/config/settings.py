"""All sections of the settings, which have modules of their own. Pure: `Settings()` reads nothing."""

from typing import Any, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fastchat.config.auth import Auth
from fastchat.config.broker import Broker
from fastchat.config.cluster import Cluster, problem_of_nodes
from fastchat.config.fanout import Fanout
from fastchat.config.hooks import Hooks
from fastchat.config.limits import Limits
from fastchat.config.ports import Http, Line, WebSocket
from fastchat.config.process import Log, Server
from fastchat.config.rooms import Rooms
from fastchat.config.store import Store


class Settings(BaseSettings):
    """All sections. Built by `load`; `Settings()` is the defaults."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="FASTCHAT_",
        env_nested_delimiter="__",
        # Text stays text until the setting's own validator reads it, wherever it came from.
        enable_decoding=False,
    )

    http: Http = Http()
    line: Line = Line()
    websocket: WebSocket = WebSocket()
    fanout: Fanout = Fanout()
    limits: Limits = Limits()
    rooms: Rooms = Rooms()
    store: Store = Store()
    broker: Broker = Broker()
    cluster: Cluster = Cluster()
    auth: Auth = Auth()

    hooks: Hooks = Hooks()
    server: Server = Server()
    log: Log = Log()

    @model_validator(mode="after")
    def _check_nodes(self) -> Self:
        in_memory = [kind.pattern for kind in self.rooms.classes if kind.store == "memory"]
        problem = problem_of_nodes(self.store.url, self.broker.url, self.server.workers, in_memory)
        if problem is not None:
            raise problem
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is given: `load` reads the sources, so that each value's origin is known."""
        return (init_settings,)
