"""What an augmentation would take, before it is made."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.resources import Augmentation, Recipe
from gateway.augment.rates import Rates, model_key, rate_key
from gateway.augment.used_models import need_model
from gateway.augment.wanted import wanted_counts
from gateway.clients.generator import ITEMS_PER_CALL
from gateway.context import Context
from gateway.methods.composition import Part, parts_of


class Estimator:
    """Reckons with the models that the generator has and the rates that were measured."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rates = Rates(context.store)

    async def of(self, augmentation: Augmentation) -> pb.PlanAugmentationResponse:
        """Returns the estimate of an augmentation that was checked.

        Raises Precondition if the generator does not have its model.
        """
        recipe = augmentation.recipe
        parts = parts_of(recipe.method, recipe.parameters)
        dataset = await asyncio.to_thread(self._context.catalog.dataset, augmentation.dataset)
        counts = await asyncio.to_thread(wanted_counts, self._context.store, dataset, recipe)
        found = []
        for part in parts:
            wanted = [part.quota.of(whole, now) for whole, now in counts.values()]
            to_make = sum(map(recipe.to_make, wanted))
            found.append(await self._of_method(part, recipe, sum(wanted), to_make))
        if len(found) == 1:
            return _alone(found[0])
        return _together(found)

    async def _of_method(
        self, part: Part, recipe: Recipe, wanted: int, to_make: int
    ) -> pb.MethodEstimate:
        method = part.method
        own = pb.MethodEstimate(
            method=method.id, share=float(part.share), image_count=wanted, made_count=to_make
        )
        if not method.model:
            return own
        recipe = replace(recipe, method=method.id)
        model = need_model(await self._context.clients.generator.served(), method)
        rate = await asyncio.to_thread(self._rates.get, rate_key(recipe, model))
        pace = rate
        if not rate.made:
            pace = await asyncio.to_thread(self._rates.get, model_key(method, recipe, model))
        # Where nearly all was rejected, some attempts are all there will be.
        made = math.ceil(to_make / max(rate.accepted_share, 0.2))
        size = min(self._context.settings.shard_size, ITEMS_PER_CALL)
        own.MergeFrom(
            pb.MethodEstimate(
                made_count=made,
                call_count=math.ceil(made / size),
                model=model.name,
                model_digest=model.digest,
                width=model.width,
                height=model.height,
                step_count=recipe.steps or model.default_steps,
                images_per_second=pace.per_second,
                measured_count=round(pace.made),
                measured_on_other_methods=pace.made > rate.made,
                rejected_share=1 - rate.accepted_share,
            )
        )
        return own


def _alone(one: pb.MethodEstimate) -> pb.PlanAugmentationResponse:
    return pb.PlanAugmentationResponse(
        image_count=one.image_count,
        made_count=one.made_count,
        call_count=one.call_count,
        model=one.model,
        model_digest=one.model_digest,
        width=one.width,
        height=one.height,
        step_count=one.step_count,
        images_per_second=one.images_per_second,
        measured_count=one.measured_count,
        rejected_share=one.rejected_share,
        measured_on_other_methods=one.measured_on_other_methods,
    )


def _together(methods: Sequence[pb.MethodEstimate]) -> pb.PlanAugmentationResponse:
    making = [one for one in methods if one.model]
    made, seconds = sum(one.made_count for one in making), 0.0
    if all(one.images_per_second for one in making):
        seconds = sum(one.made_count / one.images_per_second for one in making)
    rejected = sum(one.rejected_share * one.made_count for one in making)
    return pb.PlanAugmentationResponse(
        image_count=sum(one.image_count for one in methods),
        made_count=sum(one.made_count for one in methods),
        call_count=sum(one.call_count for one in methods),
        width=max((one.width for one in making), default=0),
        height=max((one.height for one in making), default=0),
        step_count=max((one.step_count for one in making), default=0),
        images_per_second=made / seconds if seconds else 0.0,
        measured_count=sum(one.measured_count for one in making),
        rejected_share=rejected / made if made else 0.0,
        measured_on_other_methods=any(one.measured_on_other_methods for one in making),
        methods=methods,
    )
