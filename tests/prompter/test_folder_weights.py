"""Language models in a folder, whatever precision their weights are in."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.torchvision_cpu import declare_missing_operators
from prompter.llm import Guide, Task
from prompter.llms import folder

TOKENIZER = Path(__file__).parents[2] / "models" / "nano" / "captioner"


@pytest.fixture(params=["5GB", "30KB"], ids=["one file", "shards"])
def half(request, tmp_path):
    """A folder of a tiny language model that holds its weights as fp16 only."""
    declare_missing_operators()
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.chat_template = "{{ messages[1].content }}"
    tokenizer.save_pretrained(tmp_path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = LlamaForCausalLM(config).half()
    model.save_pretrained(tmp_path, variant="fp16", max_shard_size=request.param)
    assert all("fp16" in file.name for file in tmp_path.glob("*.safetensors"))
    return tmp_path


async def test_weights_that_are_there_as_fp16_only_are_found_and_used(half):
    model = folder.find(str(half), threads=1).open()
    try:
        loaded = model._model.state_dict()
        for file in half.glob("*.safetensors"):
            for name, values in load_file(file).items():
                assert (loaded[name].half() == values).all()
        [reply] = await model.complete([Task("write", 1, Guide("", ()), opening="a dog")], None)
    finally:
        await model.close()
    assert reply.texts[0].startswith("a dog")
