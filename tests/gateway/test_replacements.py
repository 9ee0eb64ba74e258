"""Images that filters reject, or that cannot be made, are replaced; what stays short is told."""

from tests.gateway.doubles import Trouble
from tests.gateway.system import open_system, rows_of


async def test_rejected_images_are_replaced_and_listed_with_reasons(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(unsafe_share=0.15)) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=20, check_safety=True)
        rejected = rows_of(system.store, made.result.rejected_uri)
        accepted = rows_of(system.store, made.result.manifest_uri)
    assert made.result.accepted_count == 40 and not made.result.shortfalls
    assert made.result.rejected_count == len(rejected) > 0
    assert {row["reason"] for row in rejected} == {"UNSAFE"}
    assert max(row["attempt"] for row in accepted) > 0
    assert len({row["item_id"] for row in (*accepted, *rejected)}) == 40 + len(rejected)
    assert all(row["unsafe_score"] >= 0 for row in accepted)


async def test_a_class_that_never_reaches_its_number_is_reported(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(same_pixels=True)) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=2)
    assert made.result.accepted_count == 1, "equal pixels count once over all classes"
    short = {s.class_name: s for s in made.result.shortfalls}
    assert short["cat"].made_count == 1 and short["dog"].made_count == 0
    assert "REPEATED" in short["dog"].reason


async def test_only_a_sample_is_checked_for_safety(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        await system.augment(images_per_class=10, safety_sample_count=6)
    assert sum(checked for _, checked in system.trouble.candidates) == 6
    assert len(system.trouble.candidates) == 20


async def test_replacements_of_sampled_images_are_checked_for_safety_too(folders):
    root, train, _ = folders
    trouble = Trouble(unsafe_share=0.2)
    async with open_system(root / "state", root, trouble=trouble) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=20, safety_sample_count=10)
        accepted = rows_of(system.store, made.result.manifest_uri)
        rejected = rows_of(system.store, made.result.rejected_uri)
    checked = {uri for uri, was_checked in trouble.candidates if was_checked}
    assert len(accepted) == 40
    assert sum(row["image_uri"] in checked for row in accepted) == 10, "the sample is whole"
    assert sum(row["image_uri"] in checked for row in rejected) > 0
    assert max(row["attempt"] for row in accepted if row["image_uri"] in checked) > 0


async def test_a_busy_generator_is_asked_again(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(busy_calls=3)) as system:
        await system.import_folder(train)
        made = await system.augment()
    assert made.result.accepted_count == 6 and made.result.rejected_count == 0


async def test_an_item_that_fails_is_listed_and_replaced(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        first = await system.augment("a1")
        seeds = [row["seed"] for row in rows_of(system.store, first.result.manifest_uri)]
        system.trouble.bad_seeds = {seeds[0]}
        for key in list(system.store.list("generated/")):
            system.store.delete(key)
        second = await system.augment("a2")
        [failed] = rows_of(system.store, second.result.rejected_uri)
    assert failed["reason"] == "FAILED" and "black" in failed["message"]
    assert failed["seed"] == seeds[0]
    assert second.result.accepted_count == 6


async def test_nothing_made_at_all_is_an_error_and_the_same_request_tries_again(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        system.trouble.bad_seeds = {-1}
        failed = await system.augment()
        assert "none of 6 images could be made" in failed.error.message
        system.trouble.bad_seeds = set()
        assert (await system.augment()).result.accepted_count == 6
