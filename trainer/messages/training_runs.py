"""Messages of training runs."""

from variegate.trainer.v1 import trainer_pb2 as pb

from trainer.runs import RunRequest, RunResult, TestSet
from trainer.scores import Scores, TestSetScores
from trainer.trainer import TrainingProgress


def request_from_pb(run: pb.TrainingRun) -> RunRequest:
    """What a proto run asks for."""
    return RunRequest(
        manifest_uri=run.manifest_uri,
        train_item_ids=tuple(run.train_item_ids),
        synthetic_manifest_uri=run.synthetic_manifest_uri,
        strategy=run.strategy,
        policy=run.policy,
        classifier=run.classifier,
        step_count=run.step_count,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        seed=run.seed,
        image_size=run.image_size,
        node_count=run.node_count,
        gpus_per_node=run.gpus_per_node,
        test_sets=tuple(TestSet(one.name, one.manifest_uri) for one in run.test_sets),
        initial_weights_uri=run.initial_weights_uri,
        freeze=run.freeze,
        validation=run.validation,
        export_onnx=run.export_onnx,
        schedule=run.schedule,
        choose=run.choose,
    )


def run_to_pb(name: str, request: RunRequest, result: RunResult | None) -> pb.TrainingRun:
    """The proto run of a request, and of its result once there is one."""
    return pb.TrainingRun(
        name=name,
        manifest_uri=request.manifest_uri,
        train_item_ids=request.train_item_ids,
        synthetic_manifest_uri=request.synthetic_manifest_uri,
        strategy=request.strategy,
        policy=request.policy,
        classifier=request.classifier,
        step_count=request.step_count,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        seed=request.seed,
        image_size=request.image_size,
        node_count=request.node_count,
        gpus_per_node=request.gpus_per_node,
        test_sets=[pb.TestSet(**vars(one)) for one in request.test_sets],
        initial_weights_uri=request.initial_weights_uri,
        freeze=request.freeze,
        validation=request.validation,
        export_onnx=request.export_onnx,
        schedule=request.schedule,
        choose=request.choose,
        result=result_to_pb(result) if result is not None else None,
    )


def result_to_pb(result: RunResult) -> pb.TestResult:
    """The proto of a test result."""
    return pb.TestResult(
        accuracy=result.accuracy,
        classes=_classes(result),
        real_image_count=result.real_image_count,
        synthetic_image_count=result.synthetic_image_count,
        test_image_count=result.test_image_count,
        seconds=result.seconds,
        final_loss=result.final_loss,
        weights_uri=result.weights_uri,
        balanced_accuracy=result.balanced_accuracy,
        card_uri=result.card_uri,
        metrics_uri=result.metrics_uri,
        predictions_uri=result.predictions_uri,
        top5_accuracy=result.top5_accuracy,
        calibration_error=result.calibration_error,
        policy_uri=result.policy_uri,
        policy_digest=result.policy_digest,
        onnx_uri=result.onnx_uri,
        onnx_failure=result.onnx_failure,
        done_step_count=result.done_step_count,
        chosen_step=result.chosen_step,
        normalisation=pb.Normalisation(mean=result.mean, std=result.std) if result.mean else None,
        test_sets=map(_set_result, result.test_sets),
        validation=_set_result(result.validation) if result.validation else None,
    )


def _set_result(scores: TestSetScores) -> pb.TestSetResult:
    return pb.TestSetResult(
        name=scores.name,
        accuracy=scores.accuracy,
        classes=_classes(scores),
        test_image_count=scores.test_image_count,
        balanced_accuracy=scores.balanced_accuracy,
        top5_accuracy=scores.top5_accuracy,
        calibration_error=scores.calibration_error,
    )


def _classes(scores: Scores) -> list[pb.ClassResult]:
    return [
        pb.ClassResult(
            class_name=score.class_name,
            accuracy=score.accuracy,
            test_image_count=score.test_image_count,
            predicted_counts=counts,
        )
        for score, counts in zip(scores.classes, scores.confusion, strict=True)
    ]


def metadata_to_pb(step: TrainingProgress) -> pb.CreateTrainingRunMetadata:
    """The proto of progress."""
    return pb.CreateTrainingRunMetadata(
        done_step_count=step.done,
        total_step_count=step.total,
        images_per_second=step.images_per_second,
        done_search_step_count=step.search_done,
        total_search_step_count=step.search_total,
    )
