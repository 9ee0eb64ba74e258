"""Progress of running work to its proto."""

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.durable.progress import MOST_NOTICES, WorkProgress


def described(progress: WorkProgress | None) -> pb.OperationProgress:
    """Returns the proto of progress; of a study's, what its current part does."""
    progress = progress or WorkProgress()
    shown = progress.child or progress
    message = pb.OperationProgress(
        stage=shown.stage,
        done_count=shown.done,
        total_count=shown.total,
        rate=shown.rate(),
        unit=shown.unit,
        failed_count=shown.failed,
        part=progress.part,
        waiting=progress.waits.text()[:1024],
    )
    for item_id, text in shown.failures:
        message.failures.add(item_id=item_id, message=text)
    notices = dict.fromkeys([*progress.notices, *(shown.notices)])
    message.notices.extend(list(notices)[:MOST_NOTICES])
    return message
