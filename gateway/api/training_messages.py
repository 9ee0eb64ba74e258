"""How classifiers are trained, as protos: what of `messages` is about training."""

from collections.abc import Iterable

from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.trainer.v1 import trainer_pb2

from gateway.api.resources import TrainingRecipe


def training_to_pb(recipe: TrainingRecipe) -> pb.TrainingRecipe:
    """Returns the proto of a recipe."""
    return pb.TrainingRecipe(**vars(recipe))


def training_from_pb(message: pb.TrainingRecipe) -> TrainingRecipe:
    """Returns the recipe of a proto."""
    return TrainingRecipe(
        policy=message.policy,
        classifier=message.classifier,
        step_count=message.step_count,
        batch_size=message.batch_size,
        learning_rate=message.learning_rate,
        image_size=message.image_size,
        node_count=message.node_count,
        gpus_per_node=message.gpus_per_node,
        initial_weights_uri=message.initial_weights_uri,
        freeze=message.freeze,
        schedule=message.schedule,
        choose=message.choose,
    )


def training_choices_to_pb(
    recipes: trainer_pb2.ListRecipesResponse,
) -> pb.ListTrainingRecipesResponse:
    """Returns what the trainer lists as the gateway lists it."""
    return pb.ListTrainingRecipesResponse(
        strategies=_choices(recipes.strategies),
        policies=_choices(recipes.policies),
        classifiers=_choices(recipes.classifiers),
        timm_networks=recipes.timm_networks,
        timm_image_sizes={
            name: pb.ImageSizes(smallest=one.smallest, largest=one.largest)
            for name, one in recipes.timm_image_sizes.items()
        },
    )


def _choices(recipes: Iterable[trainer_pb2.Recipe]) -> list[pb.TrainingChoice]:
    return [
        pb.TrainingChoice(
            id=one.id,
            description=one.description,
            smallest_image_size=one.smallest_image_size,
        )
        for one in recipes
    ]
