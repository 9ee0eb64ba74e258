"""What an augmentation would take, before it is made."""

import asyncio
import math

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.resources import Augmentation
from gateway.augment.rates import Rates, rate_key
from gateway.augment.used_models import need_model
from gateway.augment.wanted import wanted_counts
from gateway.clients.generator import ITEMS_PER_CALL
from gateway.context import Context
from gateway.methods.registry import method_of


class Estimator:
    """Reckons with the models that the generator has and the rates that were measured."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rates = Rates(context.store)

    async def of(self, augmentation: Augmentation) -> pb.PlanAugmentationResponse:
        """Returns the estimate of an augmentation that was checked.

        Raises Precondition if the generator does not have its model.
        """
        recipe, method = augmentation.recipe, method_of(augmentation.recipe.method)
        dataset = await asyncio.to_thread(self._context.catalog.dataset, augmentation.dataset)
        counts = await asyncio.to_thread(wanted_counts, self._context.store, dataset, recipe)
        wanted = sum(counts.values())
        if not method.model:
            return pb.PlanAugmentationResponse(image_count=wanted, made_count=wanted)
        model = need_model(await self._context.clients.generator.served(), method)
        rate = await asyncio.to_thread(self._rates.get, rate_key(recipe, model))
        # Where nearly all was rejected, some attempts are all there will be.
        made = math.ceil(wanted / max(rate.accepted_share, 0.2))
        size = min(self._context.settings.shard_size, ITEMS_PER_CALL)
        return pb.PlanAugmentationResponse(
            image_count=wanted,
            made_count=made,
            call_count=math.ceil(made / size),
            model=model.name,
            model_digest=model.digest,
            width=model.width,
            height=model.height,
            step_count=recipe.steps or model.default_steps,
            images_per_second=rate.per_second,
            measured_count=round(rate.made),
            rejected_share=1 - rate.accepted_share,
        )
