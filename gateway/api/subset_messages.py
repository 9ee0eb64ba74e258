"""The declared subset of a dataset as protos: what of `messages` is about it."""

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.datasets.protocols import LongTail, Subset, check
from servicekit.errors import InvalidArgument


def subset_to_pb(subset: Subset, source: pb.DatasetSource) -> None:
    """Writes the subset into the proto of a source. Equal subsets are written alike."""
    if subset.is_short:
        source.shots = subset.shots
        return
    protocol = source.protocol
    protocol.SetInParent()
    protocol.seed = subset.seed
    protocol.validation_fraction = subset.validation_fraction
    if subset.shots:
        protocol.shots = subset.shots
    elif subset.fraction:
        protocol.fraction = subset.fraction
    elif subset.label_count:
        protocol.label_count = subset.label_count
    elif tail := subset.long_tail:
        protocol.long_tail.imbalance_factor = tail.imbalance_factor
        protocol.long_tail.head_count = tail.head_count
    elif subset.class_counts:
        protocol.class_counts.counts.update(subset.class_counts)


def subset_from_pb(source: pb.DatasetSource) -> Subset:
    """Returns the subset that a source declares.

    Raises InvalidArgument for two answers to one question, and for a seed that draws nothing.
    """
    if not source.HasField("protocol"):
        return Subset(shots=source.shots)
    if source.shots:
        raise InvalidArgument(
            "shots and protocol both say which training images are used; set protocol alone, with "
            "its shots",
            field="source.shots",
            reason="SUBSET_UNCLEAR",
        )
    protocol = source.protocol
    tail = None
    if protocol.HasField("long_tail"):
        tail = LongTail(protocol.long_tail.imbalance_factor, protocol.long_tail.head_count)
    subset = Subset(
        shots=protocol.shots,
        fraction=protocol.fraction,
        label_count=protocol.label_count,
        long_tail=tail,
        class_counts=dict(protocol.class_counts.counts),
        seed=protocol.seed,
        validation_fraction=protocol.validation_fraction,
    )
    check(subset)
    return subset
