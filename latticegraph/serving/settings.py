"""Limits of a server, and what it refuses to start with."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import Field, ValidationError

from latticegraph.config.section import Section
from latticegraph.errors import ConfigError
from latticegraph.serving.batcher import BatchLimits


class ServeSettings(Section):
    """What a server allows; each field is the option of the same name.

    Args:
        name: of the model in requests and answers.
        api_key: that clients send; None: everyone may ask.
    """

    name: str = Field(min_length=1, description="name of the model in requests")
    api_key: str | None = Field(
        None, pattern=r"^[!-~]{8,}$", description="key of at least 8 visible ASCII characters"
    )
    max_inputs: int = Field(32, ge=1, le=4096, description="inputs of a request")
    max_body_bytes: int = Field(2_000_000, ge=1024, le=2**30, description="bytes of a request")
    max_batch_tokens: int = Field(16_384, ge=1, description="padded tokens of a batch")
    max_batch_items: int = Field(64, ge=1, le=65_536, description="inputs of a batch")
    max_queue_tokens: int = Field(131_072, ge=1, description="tokens that may wait")
    max_requests: int = Field(512, ge=1, description="requests at once")
    deadline: float = Field(30.0, gt=0, le=3600, description="seconds for a request")

    @classmethod
    def of(cls, **values: Any) -> ServeSettings:
        """Checked settings.

        Raises:
            ConfigError: naming the option that is out of range.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0])
            about = cls.model_fields[name].description
            shown = "another one" if name == "api_key" else repr(problem["input"])
            raise ConfigError(
                option(name),
                f"expected {about}: {problem['msg'].lower()}, got {shown}",
                "Correct the value",
            ) from None

    def check(self, longest: int) -> None:
        """Refuse limits under which some allowed request could never be answered.

        Args:
            longest: tokens of the longest input that is accepted.

        Raises:
            ConfigError: a limit is too small.
        """
        if self.max_batch_tokens < longest:
            raise ConfigError(
                "--max-batch-tokens",
                f"expected at least {longest}, the tokens of the longest input, got "
                f"{self.max_batch_tokens}",
                "An input that fits into no batch would never be answered: raise it",
            )
        if self.max_queue_tokens < longest * self.max_inputs:
            raise ConfigError(
                "--max-queue-tokens",
                f"expected at least {longest * self.max_inputs}, the tokens of {self.max_inputs} "
                f"inputs of {longest}, got {self.max_queue_tokens}",
                "A request that never fits would be refused for ever: raise it, or lower "
                "--max-inputs",
            )

    def batch_limits(self) -> BatchLimits:
        """The part that the batcher applies."""
        return BatchLimits(
            self.max_batch_tokens, self.max_batch_items, self.max_queue_tokens, 2 * self.deadline
        )


def check_address(host: str, api_key: str | None) -> None:
    """Without a key, serve programs of this machine alone.

    Args:
        host: a numeric address, already looked up.
        api_key: of the server.

    Raises:
        ConfigError: the address can be reached from elsewhere, and there is no key.
    """
    if api_key is None and not ipaddress.ip_address(host).is_loopback:
        raise ConfigError(
            "--host",
            f"expected a loopback address such as 127.0.0.1, or an API key, got '{host}' without a "
            "key",
            "Pass --api-key, or set LATTICEGRAPH_API_KEY: everyone who reaches that address could "
            "use the model",
        )


def option(name: str) -> str:
    """The option of a field."""
    return f"--{name.replace('_', '-')}"
