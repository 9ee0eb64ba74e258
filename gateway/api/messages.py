"""Resources to protos and back: the edge between the service and everything inside."""

from dataclasses import fields
from typing import overload

from google.protobuf.message import Message
from variegate.gateway.v1 import gateway_pb2 as pb

from datafiles.rejected import RejectedFile
from gateway.api import resources as res
from gateway.api.prompt_messages import (
    lengths_from_pb,
    lengths_to_pb,
    prompts_from_pb,
    prompts_to_pb,
    recognition_from_pb,
    recognition_to_pb,
)
from gateway.api.study_messages import study_to_pb
from gateway.api.subset_messages import subset_from_pb, subset_to_pb
from gateway.methods.base import Composed, Method

Resource = res.Dataset | res.Augmentation | res.Study
_KINDS = {
    int: pb.MethodParameter.KIND_INTEGER,
    float: pb.MethodParameter.KIND_NUMBER,
    str: pb.MethodParameter.KIND_TEXT,
}
_AUTO, _CLASSES = pb.FOLDER_LAYOUT_UNSPECIFIED, pb.FOLDER_LAYOUT_CLASSES


@overload
def to_pb(resource: res.Dataset) -> pb.Dataset: ...
@overload
def to_pb(resource: res.Augmentation) -> pb.Augmentation: ...
@overload
def to_pb(resource: res.Study) -> pb.Study: ...
def to_pb(resource: Resource) -> Message:
    """Returns the proto of a resource."""
    if isinstance(resource, res.Dataset):
        return _dataset_to_pb(resource)
    if isinstance(resource, res.Augmentation):
        return _augmentation_to_pb(resource)
    return study_to_pb(resource)


def _dataset_to_pb(dataset: res.Dataset) -> pb.Dataset:
    message = pb.Dataset(
        name=dataset.name,
        source=pb.DatasetSource(
            train_uri=dataset.source.train_uri,
            test_uri=dataset.source.test_uri,
            display_names=dict(dataset.source.display_names),
            image_column=dataset.source.image_column,
            label_column=dataset.source.label_column,
            layout=_AUTO if dataset.source.finds_layout else _CLASSES,
            follow_links=dataset.source.follow_links,
            refuse_leaks=dataset.source.refuse_leaks,
        ),
        manifest_uri=dataset.manifest_uri,
        digest=dataset.digest,
        warnings=dataset.warnings,
    )
    subset_to_pb(dataset.source.subset, message.source)
    for one in dataset.classes:
        message.classes.add(
            class_name=one.class_name,
            label=one.label,
            train_count=one.train_count,
            test_count=one.test_count,
            display_name=one.display_name,
            validation_count=one.validation_count,
            available_count=one.available_count,
        )
    message.rejected_files.extend(pb.RejectedFile(**vars(file)) for file in dataset.rejected_files)
    for reason, count in dataset.rejected_counts:
        message.rejected_counts.add(reason=reason, file_count=count)
    return message


def source_from_pb(source: pb.DatasetSource) -> res.DatasetSource:
    """Returns where a dataset is to be imported from."""
    return res.DatasetSource(
        source.train_uri,
        source.test_uri,
        subset_from_pb(source),
        dict(source.display_names),
        image_column=source.image_column,
        label_column=source.label_column,
        finds_layout=source.layout != _CLASSES,
        follow_links=source.follow_links,
        refuse_leaks=source.refuse_leaks,
    )


def dataset_from_pb(message: pb.Dataset) -> res.Dataset:
    """Returns the dataset of a proto."""
    return res.Dataset(
        name=message.name,
        source=source_from_pb(message.source),
        manifest_uri=message.manifest_uri,
        digest=message.digest,
        classes=tuple(
            res.DatasetClass(
                c.class_name,
                c.label,
                c.train_count,
                c.test_count,
                c.display_name,
                c.validation_count,
                c.available_count,
            )
            for c in message.classes
        ),
        rejected_files=tuple(
            RejectedFile(f.path, f.reason, f.message) for f in message.rejected_files
        ),
        warnings=tuple(message.warnings),
        rejected_counts=tuple((c.reason, c.file_count) for c in message.rejected_counts),
    )


def _augmentation_to_pb(augmentation: res.Augmentation) -> pb.Augmentation:
    recipe = augmentation.recipe
    message = pb.Augmentation(
        name=augmentation.name,
        method=recipe.method,
        images_per_class=recipe.images_per_class,
        seed=recipe.seed,
        parameters=dict(recipe.parameters),
        class_names=recipe.class_names,
        train_item_ids=recipe.train_item_ids,
        pool_uri=recipe.pool_uri,
        steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        deterministic=recipe.deterministic,
        check_safety=recipe.check_safety,
        safety_sample_count=recipe.safety_sample,
        preview_count=recipe.preview_count,
        rejections_uri=recipe.rejections_uri,
        class_counts=dict(recipe.class_counts),
        fill_up=recipe.fill_up,
        negative_prompt=recipe.negative_prompt,
        make_factor=recipe.make_factor,
        keep=recipe.keep,
        models=augmentation.models,
    )
    if result := augmentation.result:
        message.result.CopyFrom(
            pb.AugmentationResult(
                manifest_uri=result.manifest_uri,
                digest=result.digest,
                accepted_count=result.accepted_count,
                rejected_count=result.rejected_count,
                rejected_uri=result.rejected_uri,
                seconds=dict(result.seconds),
                prompts=map(prompts_to_pb, result.prompts),
                notices=result.notices,
                recognition=map(recognition_to_pb, result.recognition),
                prompt_lengths=lengths_to_pb(result.lengths),
                kept=pb.KeptImages(**vars(result.kept)) if result.kept else None,
            )
        )
        for short in result.shortfalls:
            message.result.shortfalls.add(
                class_name=short.class_name,
                wanted_count=short.wanted,
                made_count=short.made,
                reason=short.reason,
            )
    return message


def augmentation_from_pb(message: pb.Augmentation, name: str = "") -> res.Augmentation:
    """Returns the augmentation of a proto, under `name` if it is given."""
    recipe = res.Recipe(
        method=message.method,
        images_per_class=message.images_per_class,
        seed=message.seed,
        parameters=dict(message.parameters),
        class_names=tuple(message.class_names),
        train_item_ids=tuple(message.train_item_ids),
        pool_uri=message.pool_uri,
        steps=message.steps,
        guidance_scale=message.guidance_scale if message.HasField("guidance_scale") else None,
        deterministic=message.deterministic,
        check_safety=message.check_safety,
        safety_sample=message.safety_sample_count,
        preview_count=message.preview_count,
        rejections_uri=message.rejections_uri,
        class_counts=dict(message.class_counts),
        fill_up=message.fill_up,
        negative_prompt=message.negative_prompt,
        make_factor=round(message.make_factor, 4),
        keep=message.keep,
    )
    result = None
    if message.HasField("result"):
        made = message.result
        result = res.AugmentationResult(
            manifest_uri=made.manifest_uri,
            digest=made.digest,
            accepted_count=made.accepted_count,
            rejected_count=made.rejected_count,
            rejected_uri=made.rejected_uri,
            shortfalls=tuple(
                res.Shortfall(s.class_name, s.wanted_count, s.made_count, s.reason)
                for s in made.shortfalls
            ),
            seconds=dict(made.seconds),
            prompts=prompts_from_pb(made.prompts),
            notices=tuple(made.notices),
            recognition=recognition_from_pb(made.recognition),
            lengths=lengths_from_pb(made.prompt_lengths),
            kept=_kept_from_pb(made.kept) if made.HasField("kept") else None,
        )
    return res.Augmentation(name or message.name, recipe, result, dict(message.models))


def _kept_from_pb(message: pb.KeptImages) -> res.KeptImages:
    return res.KeptImages(
        **{one.name: getattr(message, one.name) for one in fields(res.KeptImages)}
    )


def method_to_pb(method: Method | Composed) -> pb.Method:
    """Returns the proto of a method."""
    message = pb.Method(
        id=method.id,
        description=method.description,
        source=method.source,
        needs_pool=method.needs.pool,
    )
    for parameter in method.parameters:
        message.parameters.add(
            name=parameter.name,
            default_value=str(parameter.default),
            description=parameter.description,
            kind=_KINDS[type(parameter.default)],
            minimum=parameter.minimum,
            maximum=parameter.maximum,
        )
    return message
