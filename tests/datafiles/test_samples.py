"""Files are one sample by their key: nobody's label becomes another's, in whatever order."""

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from datafiles.samples import Member, samples
from datafiles.suffixes import split_name

PARTS = st.text(alphabet="aB0 _-(é", min_size=1, max_size=4).filter(lambda text: text.strip())
STEMS = st.lists(PARTS, min_size=1, max_size=3).map(".".join)
IMAGES = st.sampled_from(["png", "jpg", "JPEG", "webp"])
LABELS = st.sampled_from(["cls", "json", "CLS"])


def grouped(names):
    return list(samples(Member(name, name) for name in names))


def keys_of(stems, images, labels):
    """Returns each image's label; leaves out stems whose own end is a suffix, as "a.png"."""
    pairs = {}
    for stem, image, label in zip(stems, images, labels, strict=True):
        names = f"{stem}.{image}", f"{stem}.{label}"
        assume(split_name(names[0])[0] == split_name(names[1])[0] == stem)
        pairs[names[0]] = names[1]
    return pairs


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_photograph_has_the_label_of_its_own_name_in_any_order(data):
    stems = data.draw(st.lists(STEMS, min_size=1, max_size=8, unique=True))
    pairs = keys_of(stems, *(data.draw(st.tuples(*[s] * len(stems))) for s in (IMAGES, LABELS)))
    names = data.draw(st.permutations([*pairs, *pairs.values()]))
    found = {}
    for sample in grouped(names):
        [label] = sample.of_kind("label", "notes")
        assert not sample.left_out
        found[sample.image.name] = label.name
    assert found == pairs


@settings(max_examples=300, deadline=None)
@given(stems=st.lists(STEMS, min_size=1, max_size=8, unique=True), data=st.data())
def test_photographs_without_anything_beside_them_are_all_there_once(stems, data):
    names = [f"{stem}.png" for stem in stems]
    assume(all(split_name(name)[0] == stem for name, stem in zip(names, stems, strict=True)))
    found = grouped(data.draw(st.permutations(names)))
    assert sorted(sample.image.name for sample in found if sample.image) == sorted(names)


@settings(max_examples=300, deadline=None)
@given(
    names=st.lists(
        st.builds(
            "{}.{}".format,
            STEMS,
            st.sampled_from(["png", "seg.png", "cls", "fine.cls", "json", "txt", "npy"]),
        ),
        min_size=1,
        max_size=12,
        unique=True,
    )
)
@example(names=["0.png", "0.cls", "0.0.seg.png"])
def test_no_image_is_lost_whatever_lies_beside_it(names):
    found = grouped(sorted(names))
    taken = [sample.image.name for sample in found if sample.image]
    told = [one.path for sample in found for one in sample.left_out]
    images = {name for name in names if name.endswith(".png")}
    assert len(taken) == len(set(taken)), "no image is in two samples"
    assert images <= {*taken, *told}
