"""Settings of the gateway."""

from dataclasses import dataclass

from servicekit.places import address_of, state_folder
from servicekit.settings import setting
from servicekit.tls.certificates import Certificates
from servicekit.tls.files import client_files

_AWAY = "Where the {0} listens, HOST:PORT."


@dataclass(frozen=True)
class GatewaySettings:
    """Where the other services are, where durable state is, and how much runs at once.

    Each is GATEWAY_... in the environment.
    """

    captioner: str = setting(address_of("captioner"), _AWAY.format("captioner"))
    prompter: str = setting(address_of("prompter"), _AWAY.format("prompter"))
    generator: str = setting(address_of("generator"), _AWAY.format("generator"))
    retriever: str = setting(address_of("retriever"), _AWAY.format("retriever"))
    trainer: str = setting(address_of("trainer"), _AWAY.format("trainer"))
    screener: str = setting(
        "",
        "Where retrievers listen that screen and embed images and may be many; empty: the "
        "retriever alone does that, too. All of them need its models.",
    )
    tls_ca: str = setting(
        "",
        "PEM file of the authorities that signed the services' certificates; they are called with "
        "TLS then. Each must be for the host of its address.",
    )
    tls_certificate: str = setting(
        "", "PEM file of the certificate that the gateway shows to the services, and its chain."
    )
    tls_key: str = setting("", "PEM file of that certificate's key.")
    import_roots: tuple[str, ...] = setting(
        (), "Folders that datasets given as file: may be imported from."
    )
    database_url: str = setting(
        # As `gateway.durable.database.sqlite_url` makes it, which would import a database.
        (state_folder() / "gateway.sqlite").as_uri().replace("file://", "sqlite:///", 1),
        "Database of durable work: sqlite:////FILE (percent-encoded) or postgresql://...",
    )
    executor_id: str = setting(
        "gateway-0",
        "Name of this process among the gateways of a PostgreSQL database, as logs give it.",
    )
    lease_seconds: float = setting(
        30.0,
        "How long a gateway of a PostgreSQL database may be silent before others take its work "
        "over.",
        least=1,
    )
    shard_size: int = setting(32, "Images that are made and written down at a time.", least=1)
    training_runs_in_flight: int = setting(1, "Most classifiers that train at a time.", least=1)
    patience_seconds: float = setting(
        120.0, "For how long calls to a service that is unreachable or full are repeated.", least=0
    )
    call_seconds: float = setting(900.0, "Longest that one call may last.", least=0.001)
    max_unsafe_score: float = setting(
        0.8, "Images above this probability of unsafe content are rejected, 0 to 1.", least=0
    )
    memory_mib: int = setting(512, "Most memory for embeddings, in MiB.", least=1)
    least_prompt_distance: float = setting(
        0.001,
        "Prompts of a language model that are nearer (cosine, in CLIP's space) say the same; what "
        "is near depends on the CLIP, and the default is for the one that ships.",
        least=0,
    )
    auth_tokens: str = setting(
        "", "File of principals with the hashes of their tokens; `variegate token` makes lines."
    )
    auth_issuer: str = setting(
        "", "Issuer (OpenID Connect) whose JWTs count, https://HOST/PATH as they have it in iss."
    )
    auth_audience: str = setting("", "What the JWTs have to have in aud.")
    auth_keys: str = setting(
        "", "URL of the issuer's keys (JWKS); empty: its discovery document says it."
    )
    auth_keys_seconds: float = setting(
        3600.0, "For how long keys count on while the issuer cannot be reached.", least=0
    )
    auth_scope_claim: str = setting(
        "scope", "Claim of the JWTs with variegate.read, variegate.create or variegate.admin."
    )
    auth_owner_claim: str = setting(
        "sub", "Claim of the JWTs that says whom things belong to: a person, or a team."
    )
    auth_leeway_seconds: float = setting(
        60.0, "By how much the clocks of the issuer and of the gateway may differ.", least=0
    )
    auth_calls_per_second: float = setting(
        50.0, "Most calls of one principal, on average.", least=0.01
    )
    auth_calls_in_flight: int = setting(
        64, "Most calls of one principal that are answered at a time.", least=1
    )
    auth_audit_file: str = setting(
        "", "File for lines of JSON about who called what; empty: they are in the log."
    )
    auth_store_prefixes: tuple[str, ...] = setting(
        # The last three hold what the command line uploads, named by its content.
        ("uploads/{owner}/", "rejections/", "synthetic/", "weights/"),
        "Prefixes of the store that principals may name in requests; {owner} is theirs. Admins "
        "may name any.",
    )

    def certificates(self) -> Certificates | None:
        """Returns what services are called with; None without TLS. Raises SettingsError."""
        files = client_files(self.tls_certificate, self.tls_key, self.tls_ca, "GATEWAY_TLS_")
        return None if files is None else Certificates(files, "client")
