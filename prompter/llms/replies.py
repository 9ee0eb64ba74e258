"""The JSON that a language model's server answers with: its schema, and whether it was kept."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from prompter.llm import Example, Reply, Task

Schema = type[BaseModel]

_SHORTEST, _LONGEST, _LONGEST_OF_LIST = 10, 140, 80
_REPLY = ConfigDict(extra="forbid", title="reply")


def schema_of(task: Task) -> Schema:
    """Returns what a reply must look like.

    The opening is a constant of the schema, so that no model can leave the class out.
    """
    if task.most:
        text = Annotated[str, Field(min_length=3, max_length=_LONGEST_OF_LIST)]
        texts = Annotated[list[text], Field(min_length=1, max_length=task.most)]  # type: ignore[valid-type]
        return create_model("reply", __config__=_REPLY, texts=(texts, ...))
    rest = Annotated[str, Field(min_length=_SHORTEST, max_length=_LONGEST)]
    opening: Any = Literal[task.opening]
    return create_model("reply", __config__=_REPLY, opening=(opening, ...), rest=(rest, ...))


def example(one: Example) -> dict[str, Any]:
    """Returns the reply that an example shows."""
    if one.opening:
        return {"opening": one.opening, "rest": one.texts[0]}
    return {"texts": list(one.texts)}


def parse(task: Task, schema: Schema, content: str) -> Reply:
    """Returns the texts of a reply; its problem if the schema was not kept."""
    try:
        reply: Any = schema.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Reply(raw=content, problem=f"{place}: {first['msg']}" if place else first["msg"])
    if task.most:
        return Reply(tuple(text.strip() for text in reply.texts), content)
    return Reply((f"{reply.opening} {reply.rest.strip(' ,;:-')}",), content)
