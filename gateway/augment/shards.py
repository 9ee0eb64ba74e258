"""One shard: its images made by the generator, then judged by the retriever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.augment.embeddings import Array, Embeddings
from gateway.augment.flow import Shard, Stage
from gateway.augment.outcomes import Outcome, failed, judged
from gateway.augment.rates import Stopwatch
from gateway.clients.generator import ImageRequest, MadeImage, Sampling
from gateway.clients.image_conditions import ImageCondition, ImageEmbedding
from gateway.clients.verdicts import Candidate, Verdict
from gateway.context import Context
from gateway.methods.base import ClassMaterial, EmbeddingMix, MixedText, PromptText
from gateway.plan import GeneratorModel, Item, Sample
from servicekit.errors import Precondition, ServiceError
from servicekit.together import together
from servicekit.tracing import span


@dataclass(frozen=True)
class ShardMaker:
    """Makes shards of one augmentation, the work of `job`.

    `checked` are the images to check for safety, in every attempt.
    """

    context: Context
    model: GeneratorModel
    embeddings: Embeddings
    materials: Mapping[str, ClassMaterial]
    sampling: Sampling
    protected_manifest_uri: str
    checked: Sample | None  # None checks every image.
    job: str
    places: dict[str, dict[str, int]] = field(default_factory=dict)
    watch: Stopwatch = field(default_factory=Stopwatch)

    async def make(self, items: Sequence[Item], shard: Shard) -> list[Outcome]:
        """Returns one outcome per item, in order; `shard` is told the stages.

        The calls that it takes are one trace, where calls are traced.
        """
        with span("shard", job=self.job, item_count=len(items)):
            return await self._make(items, shard)

    async def _make(self, items: Sequence[Item], shard: Shard) -> list[Outcome]:
        if any(map(_is_embedded, items)):
            requests = await together(self._request(item) for item in items)
        else:  # Nothing is waited for, and a task would cost more than the request.
            requests = [await self._request(item) for item in items]
        generator = self.context.clients.generator
        fresh = 0
        self.watch.begin()
        try:
            made = await generator.generate(
                self.model, requests, self.sampling, self.job, partial(shard.reaches, Stage.MAKING)
            )
            shard.reaches(Stage.MADE)
            self._check_digests(items, made)
            verdicts = await self._judge(items, made, shard)
            fresh = sum(isinstance(o, MadeImage) and not o.is_cached for o in made.values())
        finally:
            self.watch.end(fresh)
        return [self._outcome(item, made, verdicts) for item in items]

    def _check_digests(
        self, items: Sequence[Item], made: Mapping[str, MadeImage | ServiceError]
    ) -> None:
        """A generator that was started anew with another model would mix the two."""
        for item in items:
            image, expected = made[item.item_id], self.model.digest_with(item.artefacts)
            if isinstance(image, MadeImage) and image.model_digest != expected:
                raise Precondition(
                    f"the generator's model {self.model.name!r} was {expected} and is now "
                    f"{image.model_digest}; start it with the first one again, or use another id",
                    subject=self.model.name,
                    reason="MODELS_CHANGED",
                )

    def _outcome(
        self,
        item: Item,
        made: Mapping[str, MadeImage | ServiceError],
        verdicts: Mapping[str, Verdict],
    ) -> Outcome:
        result = made[item.item_id]
        if isinstance(result, ServiceError):
            return failed(item.item_id, result)
        return judged(item.item_id, result, verdicts[item.item_id])

    async def _judge(
        self, items: Sequence[Item], made: Mapping[str, MadeImage | ServiceError], shard: Shard
    ) -> dict[str, Verdict]:
        """Screens what was made: one call, or two if only some are checked for safety."""
        groups: dict[bool, list[Item]] = {True: [], False: []}
        for item in items:
            if isinstance(made[item.item_id], MadeImage):
                groups[self.checked is None or self.checked.has(item.slot)].append(item)
        verdicts: dict[str, Verdict] = {}
        for checked, group in groups.items():
            limit = self.context.settings.max_unsafe_score if checked else None
            candidates = [self._candidate(item, made[item.item_id]) for item in group]
            found = await self.context.clients.screener.screen(
                candidates,
                protected_manifest_uri=self.protected_manifest_uri,
                max_unsafe_score=limit,
                job=self.job,
                started=partial(shard.reaches, Stage.SCREENING),
            )
            verdicts.update(zip((item.item_id for item in group), found, strict=True))
        return verdicts

    def _candidate(self, item: Item, made: MadeImage | ServiceError) -> Candidate:
        assert isinstance(made, MadeImage)
        material = self.materials[item.slot.class_name]
        return Candidate(made.image_uri, shown_text(material.display_name))

    async def _request(self, item: Item) -> ImageRequest:
        text: str | MixedText | None = None
        if isinstance(item.text, PromptText):
            text = item.text.prompt
        elif isinstance(item.text, MixedText):
            text = item.text
        mix = item.image
        image: ImageCondition | None
        if isinstance(mix, EmbeddingMix):
            image = ImageEmbedding(await self._vector(item, mix), mix.noise_level)
        else:
            image = mix
        return ImageRequest(item.item_id, item.slot.seed, text, image, item.artefacts)

    async def _vector(self, item: Item, mix: EmbeddingMix) -> Array:
        parents = self.materials[item.slot.class_name].parents
        rows = self._rows(item.slot.class_name)
        vectors = await self.embeddings.of_images(parents, [rows[uri] for uri in mix.image_uris])
        vector = mix.blend.apply(vectors[0], vectors[1]) if mix.blend else vectors[0]
        return mix.dropout.apply(vector) if mix.dropout else vector

    def _rows(self, class_name: str) -> dict[str, int]:
        """Returns where each image stands among the parents of its class."""
        if class_name not in self.places:
            parents = self.materials[class_name].parents
            self.places[class_name] = {one.image_uri: row for row, one in enumerate(parents)}
        return self.places[class_name]


def _is_embedded(item: Item) -> bool:
    """Says whether the request for an item holds embeddings, which may have to be made."""
    return isinstance(item.image, EmbeddingMix)


def shown_text(display_name: str) -> str:
    """Returns the text that an image's CLIP score is measured against, the same for all methods."""
    return f"a photo of a {display_name}"
