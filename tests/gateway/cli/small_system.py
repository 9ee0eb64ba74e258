"""A small gateway and a small trainer, whose answers the tests of commands choose."""

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from grpc_status import rpc_status
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc
from variegate.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from servicekit.statuses import to_status


def packed(message):
    into = Any()
    into.Pack(message)
    return into


def recipes(kind):
    """What both services list of the training."""
    return {
        "strategies": [kind(id="combined"), kind(id="real"), kind(id="two_phase")],
        "policies": [kind(id="standard")],
        "classifiers": [
            kind(id="cnn4", smallest_image_size=16),
            kind(id="resnet50", smallest_image_size=64),
        ],
    }


class Gateway(gateway_pb2_grpc.GatewayServiceServicer):
    """Imports by looking at nothing, and makes what it is told to have made."""

    def __init__(self):
        self.operations = {}
        self.requests = []
        self.augmentation_result = pb.AugmentationResult(accepted_count=4, rejected_count=1)
        self.failure = None
        self.missing = None  # The error of a model that the system lacks.
        self.stay_running = False
        self.slow = "-none"  # Operations whose names end so stay running, too.
        self.stage, self.image_pace = "generate", 2.0
        self.datasets = {}
        self.planned = []  # The studies of PlanStudy.
        self.code_digest = "code"
        self.gain = 0.02
        self.summary_uri = ""
        self.training_pace = 0.0
        self.onnx_failure = ""
        self.metrics_uri = ""
        self.untested = set()
        # Each item is of the split train, so that made images may have it for a parent.
        self.manifest_uri = ""
        self.manifests = {}
        self.models = {"CLIP": "clip@1", "diffusion model pix2pix": "1"}

    async def ListModels(self, request, context):
        if self.missing:
            await context.abort_with_status(
                rpc_status.to_status(to_status(self.missing, "gateway"))
            )
        return pb.ListModelsResponse(models=self.models)

    def operation(self, name, response):
        progress = pb.OperationProgress(
            stage=self.stage, done_count=2, total_count=4, rate=2.0, unit="images"
        )
        running = operations_pb2.Operation(name=name, metadata=packed(progress))
        done = operations_pb2.Operation(name=name, metadata=packed(progress), done=True)
        if self.failure:
            done.error.CopyFrom(to_status(self.failure, "gateway"))
        else:
            done.response.CopyFrom(packed(response))
        self.operations[name] = running if self.stay_running or name.endswith(self.slow) else done
        return running

    async def ListMethods(self, request, context):
        return pb.ListMethodsResponse(
            methods=[
                pb.Method(
                    id="mvc",
                    description="Mixes visual concepts.",
                    source="MVC, Algorithm 1",
                    parameters=[
                        pb.MethodParameter(
                            name="coarse_steps",
                            default_value="2",
                            kind=pb.MethodParameter.KIND_INTEGER,
                            minimum=0,
                            maximum=20,
                        )
                    ],
                ),
                pb.Method(id="retrieval", description="Finds images.", needs_pool=True),
            ]
        )

    def manifest_of(self, uri):
        """The manifest of a folder that was put there for it, or that of all others."""
        return self.manifests.get(uri.rpartition("/")[2], self.manifest_uri)

    async def ImportDataset(self, request, context):
        self.requests.append(request)
        dataset = pb.Dataset(
            name=f"datasets/{request.dataset_id}",
            source=request.source,
            manifest_uri=self.manifest_of(request.source.train_uri),
            classes=[
                pb.DatasetClass(class_name="cat", label=0, train_count=2, test_count=1),
                pb.DatasetClass(
                    class_name="dog [x]",
                    label=1,
                    train_count=2,
                    test_count=1,
                    display_name=request.source.display_names.get("dog [x]", "dog"),
                ),
            ],
            rejected_files=[
                pb.RejectedFile(path="cat/bad.jpg", reason="TRUNCATED", message="it is cut off")
            ],
        )
        dataset.digest = "1"
        self.datasets[dataset.name] = dataset
        return self.operation(f"operations/import-{request.dataset_id}", dataset)

    async def GetDataset(self, request, context):
        return self.datasets[request.name]

    async def ListDatasets(self, request, context):
        return pb.ListDatasetsResponse(datasets=self.datasets.values())

    async def PlanAugmentation(self, request, context):
        count = 2 * request.augmentation.images_per_class
        return pb.PlanAugmentationResponse(
            image_count=count,
            made_count=count,
            call_count=1 + count // 32,
            model="pix2pix",
            model_digest="0123456789abcdef",
            width=32,
            height=32,
            step_count=20,
            images_per_second=self.image_pace,
            measured_count=100 if self.image_pace else 0,
        )

    async def CreateAugmentation(self, request, context):
        self.requests.append(request)
        made = pb.Augmentation()
        made.CopyFrom(request.augmentation)
        made.name = f"{request.parent}/augmentations/{request.augmentation_id}"
        made.result.CopyFrom(self.augmentation_result)
        return self.operation(f"operations/{request.augmentation_id}", made)

    async def PlanStudy(self, request, context):
        study = request.study
        self.planned.append(study)
        training = pb.TrainingRecipe(
            classifier="cnn4", step_count=300, batch_size=64, image_size=32
        )
        pace = self.training_pace
        count = len(study.seeds) * (1 + len(study.arms))
        one = pb.StudyTraining(
            training=training,
            run_count=count,
            images_per_second=pace,
            measured_image_count=200 * (pace > 0),
        )
        return pb.PlanStudyResponse(
            training_run_count=count,
            trainings=[one],
            cell_count=count,
            augmentation_count=len(study.seeds) * len({arm.method for arm in study.arms}),
        )

    async def ListTrainingRecipes(self, request, context):
        return pb.ListTrainingRecipesResponse(**recipes(pb.TrainingChoice))

    async def CreateStudy(self, request, context):
        self.requests.append(request)
        study = pb.Study()
        study.CopyFrom(request.study)
        study.name = f"studies/{request.study_id}"
        study.result.results_uri = "store:results.json"
        study.result.report_uri = "store:report.html"
        study.result.summary_uri = self.summary_uri
        return self.operation(f"operations/{request.study_id}", study)


class Trainer(trainer_pb2_grpc.TrainerServiceServicer):
    """Trains nothing; added images help by two points, and every seed by one."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.runs = {}

    async def ListRecipes(self, request, context):
        return trainer_pb2.ListRecipesResponse(
            **recipes(trainer_pb2.Recipe),
            code_digest=self.gateway.code_digest,
            timm_image_sizes={"test_vit": trainer_pb2.ImageSizes(smallest=160, largest=160)},
        )

    async def PlanTrainingRun(self, request, context):
        run = request.training_run
        run.strategy = run.strategy or ("combined" if run.synthetic_manifest_uri else "real")
        run.classifier, run.policy = run.classifier or "cnn4", run.policy or "standard"
        run.step_count, run.batch_size = run.step_count or 300, run.batch_size or 64
        run.image_size = run.image_size or 32
        pace = self.gateway.training_pace
        return trainer_pb2.PlanTrainingRunResponse(
            training_run=run, images_per_second=pace, measured_image_count=200 * (pace > 0)
        )

    async def CreateTrainingRun(self, request, context):
        self.gateway.requests.append(request)
        run = trainer_pb2.TrainingRun()
        run.CopyFrom(request.training_run)
        run.name = f"trainingRuns/{request.training_run_id}"
        gain = self.gateway.gain if run.synthetic_manifest_uri else 0.0
        run.strategy = run.strategy or ("combined" if gain else "real")
        run.image_size = run.image_size or 32
        result = run.result
        result.accuracy = 0.4 + 0.01 * run.seed + gain
        result.real_image_count, result.test_image_count = 4, 2
        result.synthetic_image_count = 4 if gain else 0
        for name in ("cat", "dog [x]"):
            if name in self.gateway.untested:
                result.classes.add(class_name=name)
                continue
            result.classes.add(class_name=name, accuracy=result.accuracy, test_image_count=1)
        result.balanced_accuracy = result.accuracy
        result.onnx_failure = self.gateway.onnx_failure
        result.metrics_uri, result.calibration_error = self.gateway.metrics_uri, 0.125
        for one in run.test_sets:
            result.test_sets.add(name=one.name, accuracy=result.accuracy / 2, test_image_count=7)
        self.runs[run.name] = run
        return self.gateway.operation(f"operations/{request.training_run_id}", run)

    async def GetTrainingRun(self, request, context):
        return self.runs[request.name]


class Operations(operations_pb2_grpc.OperationsServicer):
    def __init__(self, gateway):
        self.gateway = gateway

    async def GetOperation(self, request, context):
        return self.gateway.operations[request.name]

    async def ListOperations(self, request, context):
        found = list(self.gateway.operations.values())
        return operations_pb2.ListOperationsResponse(operations=found)

    async def CancelOperation(self, request, context):
        self.gateway.requests.append(request)
        return Empty()
