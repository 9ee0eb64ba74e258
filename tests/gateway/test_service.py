"""The gateway's own calls: validation, idempotency, pages, operations."""

import asyncio
import io

import grpc
import pyarrow.parquet as pq
import pytest
from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.datasets import manifest
from servicekit.errors import Unavailable
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.pictures import picture, write_folder
from tests.gateway.studying import finished, study_of
from tests.gateway.system import open_system


@pytest.fixture
async def system(tmp_path):
    train = write_folder(tmp_path / "train")
    test = write_folder(tmp_path / "test", count=2, tag="test")
    async with open_system(tmp_path / "state", tmp_path, trouble=Trouble()) as system:
        system.dataset = await system.import_folder(train, test)
        system.folder = train
        yield system


async def test_bad_requests_name_the_field_and_the_known_values(system, fails):
    test_item = next(
        item
        for item in manifest.read(system.store.get(to_key(system.dataset.manifest_uri)))
        if item.split == "test"
    )
    cases = [
        ({"method": "nope"}, "augmentation.method", "known are boomerang"),
        ({"parameters": {"p": "1"}}, "augmentation.parameters.p", "known are coarse_steps"),
        ({"parameters": {"fine_steps": "-3"}}, "augmentation.parameters.fine_steps", "-3"),
        ({"class_names": ["cow"]}, "augmentation.class_names", "it has cat, dog"),
        ({"train_item_ids": ["x"]}, "augmentation.train_item_ids", "is not in the dataset"),
        (
            {"train_item_ids": [test_item.item_id]},
            "augmentation.train_item_ids",
            "image of the split 'test'",
        ),
        ({"method": "retrieval"}, "augmentation.pool_uri", "give pool_uri"),
        ({"pool_uri": "store:nothing"}, "augmentation.pool_uri", "no pool"),
        ({"pool_uri": "file:///etc/passwd"}, "augmentation.pool_uri", "outside the folders"),
        ({"images_per_class": 0}, "augmentation.images_per_class", ""),
        ({"steps": 201}, "augmentation.steps", ""),
        ({"guidance_scale": 31.0}, "augmentation.guidance_scale", ""),
        ({"guidance_scale": float("nan")}, "augmentation.guidance_scale", ""),
    ]
    for fields, field, words in cases:
        error = await fails(system.start("bad", **fields))
        assert error.code.name == "INVALID_ARGUMENT", fields
        assert error.field == field and words in error.message
    error = await fails(system.start("bad", parent="datasets/none"))
    assert error.code.name == "NOT_FOUND" and "import it first" in error.message
    assert not list(system.store.list("datasets/pets/augmentations/"))


async def test_an_id_belongs_to_one_request(system, fails):
    await system.augment("a1")
    error = await fails(system.start("a1", seed=9))
    assert error.code.name == "ALREADY_EXISTS" and "choose another id" in error.message
    source = pb.DatasetSource(train_uri=f"file://{system.folder}", shots=1)
    request = pb.ImportDatasetRequest(dataset_id="pets", source=source)
    assert (await fails(system.stub.ImportDataset(request, timeout=9))).reason == (
        "DIFFERENT_REQUEST"
    )


async def test_shots_are_one_request_in_either_form_and_a_seed_makes_another(system, fails):
    def asked(name, **fields):
        source = pb.DatasetSource(train_uri=f"file://{system.folder}", **fields)
        request = pb.ImportDatasetRequest(dataset_id=name, source=source)
        return system.stub.ImportDataset(request, timeout=9)

    async def imported(name, **fields):
        return await system.finish(await asked(name, **fields))

    first = await imported("few", shots=1)
    again = await imported("few", protocol=pb.SubsetProtocol(shots=1))
    assert again == first and first.source.shots == 1 and not first.source.HasField("protocol")
    error = await fails(asked("few", protocol=pb.SubsetProtocol(shots=1, seed=1)))
    assert error.reason == "DIFFERENT_REQUEST"
    protocol = pb.SubsetProtocol(fraction=0.4, seed=7)
    half = await imported("half", protocol=protocol)
    assert half == await imported("half", protocol=protocol) and half.source.protocol == protocol
    assert [(c.train_count, c.available_count) for c in half.classes] == [(1, 3), (1, 3)]
    many = await imported("many", shots=4)
    assert many.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "the class 'cat' has 3 training images" in many.error.message
    error = await fails(asked("bad", protocol=pb.SubsetProtocol(fraction=1.5)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field == "source.protocol.fraction"


async def test_lists_are_paged_and_things_that_do_not_exist_are_not_found(system, fails):
    for name in ("a1", "a2", "a3"):
        await system.augment(name, method="simple", images_per_class=1)
    request = pb.ListAugmentationsRequest(parent="datasets/pets", page_size=2)
    first = await system.stub.ListAugmentations(request, timeout=9)
    request.page_token = first.next_page_token
    second = await system.stub.ListAugmentations(request, timeout=9)
    names = [a.name.rpartition("/")[2] for a in (*first.augmentations, *second.augmentations)]
    assert names == ["a1", "a2", "a3"] and not second.next_page_token
    datasets = await system.stub.ListDatasets(pb.ListDatasetsRequest(), timeout=9)
    assert [d.name for d in datasets.datasets] == ["datasets/pets"]
    name = "datasets/pets/augmentations/none"
    missing = system.stub.GetAugmentation(pb.GetAugmentationRequest(name=name), timeout=9)
    assert (await fails(missing)).code.name == "NOT_FOUND"
    methods = await system.stub.ListMethods(pb.ListMethodsRequest(), timeout=9)
    assert [m.id for m in methods.methods if m.needs_pool] == ["retrieval"]


async def test_only_declared_training_items_become_parents(system):
    items = manifest.read(system.store.get(to_key(system.dataset.manifest_uri)))
    chosen = {
        name: next(i.item_id for i in items if i.class_name == name and i.split == "train")
        for name in ("cat", "dog")
    }
    made = await system.augment(train_item_ids=list(chosen.values()), images_per_class=5)
    data = io.BytesIO(system.store.get(to_key(made.result.manifest_uri)))
    rows = pq.read_table(data).to_pylist()
    parents = {parent for row in rows for parent in row["parents"]}
    assert parents == set(chosen.values())


async def test_progress_is_shown_and_cancelled_work_goes_on_when_asked_again(system):
    system.trouble.pause = 0.3
    operation = await system.start(images_per_class=200)
    progress = pb.OperationProgress()
    while progress.stage != "generate" or not progress.done_count:
        await asyncio.sleep(0.05)
        get = operations_pb2.GetOperationRequest(name=operation.name)
        state = await system.operations.GetOperation(get, timeout=9)
        state.metadata.Unpack(progress)
    assert progress.total_count == 400 and progress.unit == "images" and progress.rate > 0
    cancel = operations_pb2.CancelOperationRequest(name=operation.name)
    await system.operations.CancelOperation(cancel, timeout=9)
    stopped = await system.finish(operation)
    assert stopped.error.code == 1
    made = system.trouble.made
    assert made < 400
    system.trouble.pause = 0
    again = await system.augment(images_per_class=200)
    assert again.result.accepted_count == 400
    assert system.trouble.made == 400, "nothing finished is made again"


async def test_what_a_study_makes_runs_while_the_study_does_and_is_cancelled_with_it(system, fails):
    async def parts():
        request = operations_pb2.ListOperationsRequest()
        listed = await system.operations.ListOperations(request, timeout=9)
        return {one.name: one for one in listed.operations if ".augmentations." in one.name}

    system.trouble.pause = 0.3
    operation = await system.stub.CreateStudy(study_of(arms=("simple",)), timeout=9)
    while not (running := await parts()):
        await asyncio.sleep(0.02)
    [(name, part)] = running.items()
    assert not part.done, part.error
    cancel = operations_pb2.CancelOperationRequest(name=name)
    error = await fails(system.operations.CancelOperation(cancel, timeout=9))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "PART_OF_STUDY")
    assert error.message.endswith(f"cancel {operation.name}")
    await system.operations.CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation.name), timeout=9
    )
    await system.finish(operation)
    [stopped] = (await parts()).values()
    assert stopped.done and stopped.error.message.endswith("ask for it again")
    system.trouble.pause = 0
    await finished(system, study_of(arms=("simple",)))
    assert all(one.done and not one.HasField("error") for one in (await parts()).values())


async def test_an_unknown_operation_is_not_found(system, fails):
    for name in ("operations/nothing", "operations/datasets.pets.augmentations.zz", "x", "../x"):
        get = operations_pb2.GetOperationRequest(name=name)
        error = await fails(system.operations.GetOperation(get, timeout=9))
        assert error.code.name == "NOT_FOUND"


async def test_an_operation_is_not_called_unknown_while_the_store_is_away(
    system, fails, monkeypatch
):
    def away(key):
        raise Unavailable("the store is away", reason="STORE_UNREACHABLE")

    monkeypatch.setattr(system.store, "exists", away)
    get = operations_pb2.GetOperationRequest(name="operations/datasets.pets")
    error = await fails(system.operations.GetOperation(get, timeout=9))
    assert (error.code.name, error.message) == ("UNAVAILABLE", "the store is away")


async def test_an_import_that_cannot_work_fails_at_once_or_in_its_operation(system, fails):
    root = system.folder.parent
    (root / "none").mkdir()
    empty = await system.import_folder(root / "none", dataset_id="empty")
    assert empty.error.code == 3
    request = pb.ImportDatasetRequest(
        dataset_id="gone", source=pb.DatasetSource(train_uri=f"file://{root}/gone")
    )
    assert "does not exist" in (await fails(system.stub.ImportDataset(request, timeout=9))).message
    (root / "none" / "cat").mkdir()
    (root / "none" / "cat" / "a.png").write_bytes(picture("a"))
    again = await system.import_folder(root / "none", dataset_id="empty")
    assert again.classes[0].train_count == 1
