"""The trainer as a small deterministic gRPC server; see tests.gateway.doubles."""

import hashlib
import io

import pyarrow.parquet as pq
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from servicekit.errors import AlreadyExists, InvalidArgument, Precondition
from servicekit.storage import to_key

# How many artefacts of which kinds a tuning method makes.
TUNED = {
    "textual_inversion": {"TOKENS": 1},
    "pseudoword_dm": {"TOKENS": 1, "UNET": 1},
    "ft_conditioning": {"CONDITIONING": 1},
    "ft_cluster_conditioning": {"CONDITIONING": 5},
    "imagic": {"CONDITIONING": 1, "UNET": 1},
    "lora": {"UNET": 1},
    "pix2pix": {"UNET": 1},
}


class Trainer(trainer_pb2_grpc.TrainerServiceServicer, operations_pb2_grpc.OperationsServicer):
    def __init__(self, store, trouble):
        self.store, self.trouble, self.runs, self.planned = store, trouble, [], []
        self.ids = {}
        self.fails = lambda run: None  # The error of a run that fails for good.
        self.validates = lambda run: 0.25  # The accuracy of a run on validation images.

    async def ListRecipes(self, request, context):
        recipe = trainer_pb2.Recipe
        return trainer_pb2.ListRecipesResponse(
            strategies=[recipe(id="combined"), recipe(id="real"), recipe(id="two_phase")],
            policies=[recipe(id="none"), recipe(id="standard")],
            classifiers=[recipe(id="cnn4")],
            code_digest="double",
            device=self.trouble.device,
            tuning_code_digest="double",
        )

    async def PlanTrainingRun(self, request, context):
        run = self._filled_in(request.training_run)
        self.planned.append(run)
        if run.strategy == "aux_bn":
            raise InvalidArgument(
                "cnn4 lacks batch norm", field="training_run.strategy", reason="NO_BATCH_NORM"
            )
        return trainer_pb2.PlanTrainingRunResponse(training_run=run)

    async def CreateTrainingRun(self, request, context):
        run = request.training_run
        self._claim(request.training_run_id, run)
        self.runs.append(run)
        if error := self.fails(run):
            raise error
        names = ["cat", "dog"]
        added = self._count(run.synthetic_manifest_uri)
        if run.strategy not in ("", "combined", "real", "two_phase"):
            raise InvalidArgument("unknown strategy", field="training_run.strategy")
        self._filled_in(run)
        accuracy = 0.5 + 0.01 * min(added, 20) + 0.001 * (run.seed % 5)
        run.result.accuracy = accuracy
        run.result.real_image_count = self._count(run.manifest_uri)
        run.result.synthetic_image_count = added
        run.result.test_image_count = 4
        run.result.seconds = 0.5
        if run.validation:
            run.result.validation.accuracy = self.validates(run)
        run.result.done_step_count = run.result.chosen_step = run.step_count
        if run.schedule:
            run.result.done_step_count -= 10 * run.seed
            run.result.chosen_step -= 20 * run.seed
        for one in run.test_sets:
            count = self._count(one.manifest_uri)
            run.result.test_sets.add(name=one.name, accuracy=accuracy / 2, test_image_count=count)
        for name in names:
            run.result.classes.add(class_name=name, accuracy=accuracy, test_image_count=2)
        operation = operations_pb2.Operation(name="operations/run", done=True)
        operation.response.Pack(run)
        return operation

    async def CreateTuning(self, request, context):
        """Learns nothing, and says so in files of the right names."""
        tuning = request.tuning
        self._claim(f"tuning.{request.tuning_id}", tuning)
        self.trouble.tunings[request.tuning_id] = trainer_pb2.Tuning.FromString(
            tuning.SerializeToString()
        )
        if tuning.class_names[0] in self.trouble.diverging:
            raise Precondition("the loss is not finite", subject="", reason="LOSS_NOT_FINITE")
        for kind, count in TUNED[tuning.method].items():
            for number in range(count):
                uri, data = f"store:tunings/{request.tuning_id}/{kind}-{number}", b"learned"
                self.store.put(uri.removeprefix("store:"), data)
                learned = tuning.result.artefacts.add(checkpoint="validation", image_count=3)
                learned.artefact.uri, learned.artefact.kind = uri, f"ARTEFACT_KIND_{kind}"
                learned.artefact.sha256 = hashlib.sha256(uri.encode()).hexdigest()
                learned.word = f"<{tuning.class_names[0]}>" if kind == "TOKENS" else ""
        tuning.result.base_validation_loss, tuning.result.validation_loss = 1.0, 0.5
        operation = operations_pb2.Operation(name="operations/tuning", done=True)
        operation.response.Pack(tuning)
        return operation

    def _claim(self, run_id, run):
        """As the real one does: an id is one request's."""
        asked = run.SerializeToString(deterministic=True)
        if self.ids.setdefault(run_id, asked) != asked:
            raise AlreadyExists(
                f"{run_id} exists with another request", resource=run_id, reason="DIFFERENT_REQUEST"
            )

    def _filled_in(self, run):
        """As the real one does: the answer has the defaults filled in."""
        run.policy, run.classifier = run.policy or "standard", run.classifier or "cnn4"
        run.step_count, run.learning_rate = run.step_count or 300, run.learning_rate or 0.004
        run.choose = run.choose or "last"
        return run

    def _count(self, uri):
        return pq.read_table(io.BytesIO(self.store.get(to_key(uri)))).num_rows if uri else 0
