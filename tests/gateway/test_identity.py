"""What determines a result is in its identity: other models are other work, and say so."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from tests.gateway.doubles import Trouble
from tests.gateway.system import open_system, rows_of


async def roles(system, *methods):
    answer = await system.stub.ListModels(pb.ListModelsRequest(methods=methods), timeout=10)
    return dict(answer.models)


async def test_each_method_names_what_it_uses(tmp_path):
    async with open_system(tmp_path) as system:
        common = {"CLIP", "safety classifier", "limits"}
        assert set(await roles(system, "simple")) == common | {"diffusion model text"}
        assert set(await roles(system, "mvc")) == common | {"diffusion model pix2pix", "captioner"}
        assert set(await roles(system, "contextual")) == common | {
            "diffusion model text",
            "language model",
        }
        assert set(await roles(system, "retrieval")) == common


async def test_the_kind_of_device_belongs_to_what_makes_images_and_classifiers(tmp_path):
    trouble = Trouble()
    request = pb.ListModelsRequest(methods=["simple"], include_training=True)
    async with open_system(tmp_path, trouble=trouble) as system:
        before = dict((await system.stub.ListModels(request, timeout=10)).models)
        trouble.device = "cuda"
        after = dict((await system.stub.ListModels(request, timeout=10)).models)
    changed = {role: (before[role], after[role]) for role in before if before[role] != after[role]}
    assert changed.keys() == {"CLIP", "training code"}
    assert all(then.endswith(" cpu") and now.endswith(" cuda") for then, now in changed.values())


async def test_the_same_id_with_other_models_is_refused_and_another_makes_new_images(
    tmp_path, folders
):
    (root, train, test), trouble = folders, Trouble()
    async with open_system(tmp_path, root, trouble=trouble) as system:
        await system.import_folder(train, test)
        first = await system.augment("a1", images_per_class=3)
        assert first.models["diffusion model pix2pix"].endswith("float32")
        assert (await system.augment("a1", images_per_class=3)).result == first.result
        trouble.model = "other"
        with pytest.raises(Exception, match="another diffusion model pix2pix") as caught:
            await system.start("a1", images_per_class=3)
        assert caught.value.code().name == "ALREADY_EXISTS"
        second = await system.augment("a2", images_per_class=3)
        made = [
            {row["sha256"] for row in rows_of(system.store, one.result.manifest_uri)}
            for one in (first, second)
        ]
        assert not made[0] & made[1]


@pytest.mark.parametrize("change", [{"engine": "bfloat16"}, {"model": "other"}])
async def test_settings_that_change_bits_are_in_the_identity(tmp_path, change):
    trouble = Trouble()
    async with open_system(tmp_path, trouble=trouble) as system:
        before = await roles(system, "mvc")
        for name, value in change.items():
            setattr(trouble, name, value)
        assert await roles(system, "mvc") != before
