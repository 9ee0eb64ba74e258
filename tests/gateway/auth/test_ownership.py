"""What one principal makes, others neither see nor touch."""

import json

import grpc
import pytest
from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.auth.access import OWNER
from tests.gateway.auth.callers import Tokens, open_gateway
from tests.gateway.pictures import write_folder


@pytest.fixture
async def gateway(tmp_path):
    write_folder(tmp_path / "train", classes=("cat", "dog"), count=2)
    tokens = Tokens(tmp_path / "tokens")
    made = {
        "alice": tokens.add("alice", "create"),
        "bob": tokens.add("bob", "create"),
        "carol": tokens.add("carol", "read", "owner=alice"),
        "root": tokens.add("root", "admin"),
    }
    settings = {"auth_tokens": str(tokens.path), "auth_audit_file": str(tmp_path / "audit.log")}
    async with open_gateway(tmp_path / "state", tmp_path, **settings) as gateway:
        gateway.names = {name: gateway.caller(token) for name, token in made.items()}
        gateway.folder, gateway.audit = tmp_path / "train", tmp_path / "audit.log"
        yield gateway


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_anothers_resources_are_refused_in_the_same_words_as_missing_ones(gateway, fails):
    alice, bob = gateway.names["alice"], gateway.names["bob"]
    await alice.import_folder(gateway.folder)
    started = await alice.start()
    calls = {
        "datasets/pets": lambda name: bob.stub.GetDataset(
            pb.GetDatasetRequest(name=name), timeout=5
        ),
        "datasets/pets/augmentations/a1": lambda name: bob.stub.GetAugmentation(
            pb.GetAugmentationRequest(name=name), timeout=5
        ),
    }
    for name, call in calls.items():
        error = await fails(call(name))
        assert error.code is grpc.StatusCode.PERMISSION_DENIED and error.reason == "NOT_YOURS"
        missing = name.replace("pets", "none")
        assert (await fails(call(missing))).message == error.message.replace(name, missing)
    request = operations_pb2.CancelOperationRequest(name=started.name)
    error = await fails(bob.operations.CancelOperation(request, timeout=5))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    error = await fails(bob.start())
    assert "belongs to others than bob" in error.message
    arms = [pb.StudyArm(method="mvc")]
    study = pb.Study(dataset="datasets/pets", arms=arms, images_per_class=1, seeds=[1])
    request = pb.CreateStudyRequest(study_id="s1", study=study)
    assert (await fails(bob.stub.CreateStudy(request, timeout=5))).reason == "NOT_YOURS"
    await bob.import_folder(gateway.folder, dataset_id="of-bob")
    study.dataset = "datasets/of-bob"
    study.test_sets.add(name="more", dataset="datasets/pets")
    request = pb.CreateStudyRequest(study_id="s1", study=study)
    assert (await fails(bob.stub.CreateStudy(request, timeout=5))).reason == "NOT_YOURS"
    await alice.finish(started)


async def test_lists_hold_what_is_the_callers_and_everything_for_an_admin(gateway):
    for name in ("alice", "bob"):
        await gateway.names[name].import_folder(gateway.folder, dataset_id=f"of-{name}")

    async def seen_by(name):
        caller = gateway.names[name]
        answer = await caller.stub.ListDatasets(pb.ListDatasetsRequest(), timeout=5)
        request = operations_pb2.ListOperationsRequest(name="operations")
        operations = await caller.operations.ListOperations(request, timeout=5)
        assert len(operations.operations) == len(answer.datasets)
        return [one.name for one in answer.datasets]

    assert await seen_by("alice") == ["datasets/of-alice"]
    assert await seen_by("bob") == ["datasets/of-bob"]
    assert await seen_by("root") == ["datasets/of-alice", "datasets/of-bob"]


async def test_a_name_that_another_took_cannot_be_taken_again(gateway, fails):
    alice, bob = gateway.names["alice"], gateway.names["bob"]
    await alice.import_folder(gateway.folder)
    source = pb.DatasetSource(train_uri=f"file://{gateway.folder}")
    request = pb.ImportDatasetRequest(dataset_id="pets", source=source)
    error = await fails(bob.stub.ImportDataset(request, timeout=5))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    assert alice.store.get(f"datasets/pets/{OWNER}") == b"alice"


async def test_a_team_shares_what_its_members_make_as_far_as_their_scopes_go(gateway, fails):
    await gateway.names["alice"].import_folder(gateway.folder)
    carol = gateway.names["carol"]
    found = await carol.stub.GetDataset(pb.GetDatasetRequest(name="datasets/pets"), timeout=5)
    assert found.name == "datasets/pets"
    error = await fails(carol.start())
    assert error.reason == "SCOPE_TOO_SMALL"
    assert "carol has the scope read, and CreateAugmentation needs create" in error.message


async def test_what_was_made_while_nobody_was_asked_is_for_admins(gateway, fails):
    alice, root = gateway.names["alice"], gateway.names["root"]
    await alice.import_folder(gateway.folder)
    alice.store.put("datasets/old/request.json", alice.store.get("datasets/pets/request.json"))
    request = pb.GetDatasetRequest(name="datasets/old")
    assert (await fails(alice.stub.GetDataset(request, timeout=5))).reason == "NOT_YOURS"
    await root.stub.GetDataset(request, timeout=5)


async def test_requests_name_no_place_in_the_store_that_is_anothers(gateway, fails):
    alice = gateway.names["alice"]
    await alice.import_folder(gateway.folder)
    for uri in ("store:uploads/bob/pets", "store:datasets/pets/manifest.parquet", "store:uploads"):
        request = pb.ImportDatasetRequest(
            dataset_id="other", source=pb.DatasetSource(train_uri=uri)
        )
        error = await fails(alice.stub.ImportDataset(request, timeout=5))
        assert error.reason == "PLACE_NOT_YOURS" and "store:uploads/alice/" in error.message
        assert error.metadata["field"] == "source.train_uri"
    error = await fails(alice.start("a2", pool_uri="store:uploads/bob/pool"))
    assert error.metadata["field"] == "augmentation.pool_uri"
    arms = [pb.StudyArm(method="theirs", added_manifest_uri="store:uploads/bob/a.parquet")]
    study = pb.Study(dataset="datasets/pets", arms=arms, images_per_class=1, seeds=[1])
    request = pb.CreateStudyRequest(study_id="s1", study=study)
    error = await fails(alice.stub.CreateStudy(request, timeout=5))
    assert error.metadata["field"] == "study.arms.added_manifest_uri"
    error = await fails(alice.start("a2", method="retrieval", pool_uri="store:uploads/alice/pool"))
    assert "there is no pool" in error.message


async def test_the_audit_log_says_who_made_read_and_was_refused_what(gateway, fails):
    alice, bob = gateway.names["alice"], gateway.names["bob"]
    await alice.import_folder(gateway.folder)
    request = pb.GetDatasetRequest(name="datasets/pets")
    await alice.stub.GetDataset(request, timeout=5)
    await fails(bob.stub.GetDataset(request, timeout=5))
    lines = _lines(gateway.audit)
    said = [(one["principal"], one["method"], one["resources"], one["code"]) for one in lines]
    assert said == [
        ("alice", "ImportDataset", ["datasets/pets"], "OK"),
        ("alice", "GetOperation", ["datasets/pets"], "OK"),
        ("alice", "GetDataset", ["datasets/pets"], "OK"),
        ("bob", "GetDataset", ["datasets/pets"], "PERMISSION_DENIED"),
    ]
    assert all(one["peer"].startswith("ipv4:127.0.0.1") for one in lines)
