"""GatewayService: protos in, protos out."""

import asyncio
from itertools import islice
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from gateway.api.catalog import Catalog
from gateway.api.estimates import Estimator
from gateway.api.messages import (
    Resource,
    augmentation_from_pb,
    method_to_pb,
    source_from_pb,
    to_pb,
)
from gateway.api.operations import DurableOperations
from gateway.api.planned_trainings import study_plan_to_pb
from gateway.api.resources import Augmentation, Dataset, Study
from gateway.api.study_messages import study_from_pb
from gateway.api.training_messages import training_choices_to_pb
from gateway.api.validation import Validator
from gateway.auth.access import Access
from gateway.clients.trainer import Trainer
from gateway.methods.registry import all_methods
from servicekit.errors import NotFound

R = TypeVar("R", Dataset, Augmentation, Study)


class GatewayService(rpc.GatewayServiceServicer):
    """Serves datasets, augmentations and studies. Translates; the work is durable.

    Whose a resource is, is looked at before anything is said of it.
    """

    def __init__(
        self,
        operations: DurableOperations,
        catalog: Catalog,
        validator: Validator,
        estimator: Estimator,
        trainer: Trainer,
        access: Access,
    ) -> None:
        self._operations = operations
        self._catalog = catalog
        self._validator = validator
        self._estimator = estimator
        self._trainer = trainer
        self._access = access

    async def ImportDataset(
        self, request: pb.ImportDatasetRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        await self._access.check(request)
        dataset = Dataset(f"datasets/{request.dataset_id}", source_from_pb(request.source))
        await asyncio.to_thread(self._validator.source, dataset.source)
        await self._access.create(dataset.name)
        return await self._operations.create(dataset)

    async def CreateAugmentation(
        self, request: pb.CreateAugmentationRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        name = f"{request.parent}/augmentations/{request.augmentation_id}"
        request.augmentation.ClearField("result")
        await self._access.check(request)
        augmentation = augmentation_from_pb(request.augmentation, name)
        checked = await self._validator.augmentation(augmentation)
        await self._access.create(name, request.parent)
        return await self._operations.create(checked)

    async def PlanAugmentation(
        self, request: pb.PlanAugmentationRequest, context: grpc.aio.ServicerContext
    ) -> pb.PlanAugmentationResponse:
        await self._access.check(request)
        augmentation = augmentation_from_pb(
            request.augmentation, f"{request.parent}/augmentations/"
        )
        checked = await self._validator.augmentation(augmentation)
        return await self._estimator.of(checked)

    async def CreateStudy(
        self, request: pb.CreateStudyRequest, context: grpc.aio.ServicerContext
    ) -> operations_pb2.Operation:
        request.study.ClearField("result")
        await self._access.check(request)
        study = study_from_pb(request.study, f"studies/{request.study_id}")
        checked, _ = await self._validator.study(study)
        await self._access.create(study.name)
        return await self._operations.create(checked)

    async def PlanStudy(
        self, request: pb.PlanStudyRequest, context: grpc.aio.ServicerContext
    ) -> pb.PlanStudyResponse:
        await self._access.check(request)
        study, plans = await self._validator.study(study_from_pb(request.study, "studies/"))
        return study_plan_to_pb(study, plans)

    async def GetDataset(
        self, request: pb.GetDatasetRequest, context: grpc.aio.ServicerContext
    ) -> pb.Dataset:
        return to_pb(await self._get(request.name, Dataset))

    async def GetAugmentation(
        self, request: pb.GetAugmentationRequest, context: grpc.aio.ServicerContext
    ) -> pb.Augmentation:
        return to_pb(await self._get(request.name, Augmentation))

    async def GetStudy(
        self, request: pb.GetStudyRequest, context: grpc.aio.ServicerContext
    ) -> pb.Study:
        return to_pb(await self._get(request.name, Study))

    async def ListDatasets(
        self, request: pb.ListDatasetsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListDatasetsResponse:
        page, token = await self._page("datasets", request.page_size, request.page_token)
        return pb.ListDatasetsResponse(
            datasets=[to_pb(r) for r in page if isinstance(r, Dataset)], next_page_token=token
        )

    async def ListAugmentations(
        self, request: pb.ListAugmentationsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListAugmentationsResponse:
        await self._get(request.parent, Dataset)
        collection = f"{request.parent}/augmentations"
        page, token = await self._page(collection, request.page_size, request.page_token)
        return pb.ListAugmentationsResponse(
            augmentations=[to_pb(r) for r in page if isinstance(r, Augmentation)],
            next_page_token=token,
        )

    async def ListStudies(
        self, request: pb.ListStudiesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListStudiesResponse:
        page, token = await self._page("studies", request.page_size, request.page_token)
        return pb.ListStudiesResponse(
            studies=[to_pb(r) for r in page if isinstance(r, Study)], next_page_token=token
        )

    async def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListModelsResponse:
        models = await self._validator.models(
            request.methods,
            deterministic=request.deterministic,
            trains=request.include_training,
        )
        return pb.ListModelsResponse(models=models)

    async def ListTrainingRecipes(
        self, request: pb.ListTrainingRecipesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListTrainingRecipesResponse:
        return training_choices_to_pb(await self._trainer.recipes())

    async def ListMethods(
        self, request: pb.ListMethodsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListMethodsResponse:
        return pb.ListMethodsResponse(methods=map(method_to_pb, all_methods().values()))

    async def _get(self, name: str, kind: type[R]) -> R:
        await self._access.use(name)
        found = await asyncio.to_thread(self._catalog.get, name)
        if not isinstance(found, kind):
            raise NotFound(f"there is no {name}; check the name", resource=name)
        return found

    async def _page(self, collection: str, size: int, token: str) -> tuple[list[Resource], str]:
        """Returns the resources after `token` and the token of the next page."""
        size = size or 100

        def names() -> list[str]:
            later = (name for name in self._catalog.names(collection) if name > token)
            return list(islice(self._access.visible(later), size + 1))

        found = await asyncio.to_thread(names)
        page = found[:size]
        resources = [await asyncio.to_thread(self._catalog.get, name) for name in page]
        return resources, page[-1] if len(found) > len(page) else ""
