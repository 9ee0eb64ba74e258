"""Settings of the gateway."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GatewaySettings:
    """Where the other services are, where durable state is, and how much runs at once.

    `import_roots` are the folders that "file:" datasets may come from. `database_url` is
    "sqlite:////FILE" or "postgresql://...". `executor_id` names this process among replicas: work
    is resumed by the process of the same name. A shard of `shard_size` items is one durable step;
    at most `items_in_flight` items wait at the generator. A service that is away or full is asked
    again for `patience_seconds`; one call lasts at most `call_seconds`. Prompts of a language model
    that are nearer than `least_prompt_distance` (cosine, in CLIP's space) say the same; what is
    near depends on the CLIP, and the default is for the one that ships.
    """

    captioner: str = "captioner:50051"
    prompter: str = "prompter:50051"
    generator: str = "generator:50051"
    retriever: str = "retriever:50051"
    trainer: str = "trainer:50051"
    import_roots: tuple[str, ...] = ()
    database_url: str = "sqlite:////var/lib/variegate/gateway.sqlite"
    executor_id: str = "gateway-0"
    shard_size: int = 32
    items_in_flight: int = 128
    training_runs_in_flight: int = 1
    patience_seconds: float = 120.0
    call_seconds: float = 900.0
    max_unsafe_score: float = 0.8
    memory_mib: int = 512
    least_prompt_distance: float = 0.001
