"""What is said about prompts, senses and what images show, to protos and back."""

from collections.abc import Iterable

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.resources import ClassPrompts
from gateway.augment.lengths import PromptLengths
from gateway.augment.recognition import ClassRecognition
from gateway.augment.senses import Sense, SenseChoice


def prompts_to_pb(prompts: ClassPrompts) -> pb.ClassPrompts:
    """Returns the proto of a class's prompts."""
    return pb.ClassPrompts(
        class_name=prompts.class_name,
        prompt_count=prompts.prompt_count,
        failed_count=prompts.failed_count,
        repeated_count=prompts.repeated_count,
        clip_cut_count=prompts.clip_cut_count,
        fallback_count=prompts.fallback_count,
        distinct_1=prompts.distinct_1,
        distinct_2=prompts.distinct_2,
        mean_distance=prompts.mean_distance,
        sense=_sense_to_pb(prompts.sense) if prompts.sense else None,
        method=prompts.method,
    )


def prompts_from_pb(messages: Iterable[pb.ClassPrompts]) -> tuple[ClassPrompts, ...]:
    """Returns the prompts of all classes of a proto."""
    return tuple(
        ClassPrompts(
            class_name=message.class_name,
            prompt_count=message.prompt_count,
            failed_count=message.failed_count,
            repeated_count=message.repeated_count,
            clip_cut_count=message.clip_cut_count,
            fallback_count=message.fallback_count,
            distinct_1=message.distinct_1,
            distinct_2=message.distinct_2,
            mean_distance=message.mean_distance,
            sense=_sense_from_pb(message.sense) if message.HasField("sense") else None,
            method=message.method,
        )
        for message in messages
    )


def _sense_to_pb(choice: SenseChoice) -> pb.ClassSense:
    return pb.ClassSense(
        sense=choice.sense.label,
        definition=choice.sense.definition,
        margin=choice.margin,
        ambiguous=choice.ambiguous,
        pinned=choice.pinned,
        scores=[pb.SenseScore(sense=sense, score=score) for sense, score in choice.scores],
    )


def _sense_from_pb(message: pb.ClassSense) -> SenseChoice:
    is_named = message.sense != message.definition
    return SenseChoice(
        sense=Sense(message.sense if is_named else "", message.definition),
        margin=message.margin,
        ambiguous=message.ambiguous,
        pinned=message.pinned,
        scores=tuple((one.sense, one.score) for one in message.scores),
    )


def lengths_to_pb(lengths: PromptLengths) -> pb.PromptLengths | None:
    """Returns the proto of prompt lengths; None if none were looked at."""
    return pb.PromptLengths(**vars(lengths)) if lengths.prompt_count else None


def lengths_from_pb(message: pb.PromptLengths) -> PromptLengths:
    """Returns the prompt lengths of a proto."""
    return PromptLengths(
        message.prompt_count, message.cut_count, message.token_limit, tuple(message.examples)
    )


def recognition_to_pb(one: ClassRecognition) -> pb.ClassRecognition:
    """Returns the proto of how often CLIP finds a class."""
    return pb.ClassRecognition(**vars(one), verdict=f"VERDICT_{one.verdict.upper()}")


def recognition_from_pb(messages: Iterable[pb.ClassRecognition]) -> tuple[ClassRecognition, ...]:
    """Returns how often CLIP finds each class of a proto."""
    return tuple(
        ClassRecognition(
            one.class_name,
            one.real_count,
            one.real_found,
            one.made_count,
            one.made_found,
            one.class_count,
        )
        for one in messages
    )
