"""The five services as the gateway sees them: values in, values out, patience inside."""

from dataclasses import dataclass

from gateway.clients.captioner import Captioner
from gateway.clients.generator import Generator
from gateway.clients.prompter import Prompter
from gateway.clients.retriever import Retriever
from gateway.clients.screener import Screener
from gateway.clients.trainer import Trainer
from gateway.clients.tunings import Tunings
from gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Clients:
    """One client per service."""

    captioner: Captioner
    prompter: Prompter
    generator: Generator
    retriever: Retriever
    screener: Screener
    trainer: Trainer
    tunings: Tunings

    @classmethod
    def of(cls, settings: GatewaySettings) -> "Clients":
        """Returns clients of the services that the settings name; they connect when used."""
        return cls(
            captioner=Captioner(settings),
            prompter=Prompter(settings),
            generator=Generator(settings),
            retriever=Retriever(settings),
            screener=Screener(settings),
            trainer=Trainer(settings),
            tunings=Tunings(settings),
        )

    async def close(self) -> None:
        """Closes the channels."""
        for client in (
            self.captioner,
            self.prompter,
            self.generator,
            self.retriever,
            self.screener,
            self.trainer,
            self.tunings,
        ):
            await client.close()
