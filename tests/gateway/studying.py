"""Studies of two seeds, as requests, and what they come to in a system."""

import json

from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.storage import to_key


def study_of(pool=None, arms=("mvc", "retrieval"), **fields):
    study = pb.Study(dataset="datasets/pets", images_per_class=3, seeds=[1, 2], **fields)
    for arm in arms:
        study.arms.add(method=arm) if isinstance(arm, str) else study.arms.add(**arm)
    study.pool_uri = f"file://{pool}" if pool else ""
    return pb.CreateStudyRequest(study_id="s1", study=study)


async def finished(system, request):
    """The study at its end, and its results."""
    study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
    assert isinstance(study, pb.Study), study
    return study, json.loads(system.store.get(to_key(study.result.results_uri)))


async def augmentations(system):
    request = pb.ListAugmentationsRequest(parent="datasets/pets")
    return (await system.stub.ListAugmentations(request, timeout=10)).augmentations
