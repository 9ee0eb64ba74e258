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
from servicekit.tls.certificates import Certificates


@dataclass(frozen=True)
class Clients:
    """One client per service. `certificates` are those that they are called with; None: no TLS."""

    captioner: Captioner
    prompter: Prompter
    generator: Generator
    retriever: Retriever
    screener: Screener
    trainer: Trainer
    tunings: Tunings
    certificates: Certificates | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> "Clients":
        """Returns clients of the services that the settings name; they connect when used.

        Raises SettingsError for files of TLS that cannot be used.
        """
        certificates = settings.certificates()
        return cls(
            captioner=Captioner(settings, certificates),
            prompter=Prompter(settings, certificates),
            generator=Generator(settings, certificates),
            retriever=Retriever(settings, certificates),
            screener=Screener(settings, certificates),
            trainer=Trainer(settings, certificates),
            tunings=Tunings(settings, certificates),
            certificates=certificates,
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
