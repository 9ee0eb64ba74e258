"""Mixes of methods on the command line and in study files."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.estimating import by_method
from gateway.cli.failures import CliError
from gateway.cli.known import check_methods, method_names, with_parameters
from gateway.cli.planning import RunPlan, lines
from gateway.cli.root import own_methods
from gateway.cli.study_file.names import Known
from gateway.cli.study_file.schema import read_study

MIX = "mvc:0.5,boomerang:0.5"


def test_methods_of_a_list_are_single_ones_and_mixes():
    assert method_names(["simple, " + MIX, "simple"]) == ["simple", MIX]
    with pytest.raises(CliError, match=r"add up to 0\.5"):
        method_names("mvc:0.5,simple")


def test_parameters_of_a_mix_are_checked_by_the_method_that_has_them():
    methods = own_methods()
    [(_, given)] = with_parameters(methods, [(MIX, {})], {"strength": "0.4", "mvc.fine_steps": "2"})
    check_methods(methods, [(MIX, given)], has_pool=False)
    for parameters, words in (
        ({"dropout": "0.5"}, "no parameter 'dropout'"),
        ({"strength": "2"}, "strength is '2'"),
        ({"boomerang.strength": "x"}, "strength is 'x'"),
    ):
        with pytest.raises(CliError, match=words):
            check_methods(methods, [(MIX, parameters)], has_pool=False)
    with pytest.raises(CliError, match="'retrieval' takes images from a pool"):
        check_methods(methods, [("mvc:0.5,retrieval:0.5", {})], has_pool=False)
    with pytest.raises(CliError, match="no method 'mvcc'"):
        check_methods(methods, [("mvcc:0.5,simple:0.5", {})], has_pool=False)


def test_a_study_file_has_mixes_and_every_fault_of_one_at_its_line(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(f'methods:\n  - simple\n  - "{MIX}": {{strength: 0.3}}\n')
    args = read_study(file, Known(own_methods()))
    assert args.methods == (("simple", {}), (MIX, {"strength": "0.3"}))
    file.write_text(
        'methods:\n  - "mvc:0.5,simple:0.4"\n  - "mvc:0.5,simpel:0.5"\n'
        f'  - "{MIX}": {{dropout: 1}}\n'
    )
    with pytest.raises(CliError) as caught:
        read_study(file, Known(own_methods()))
    for line, words in ((2, "add up to 0.9"), (3, "no method 'simpel'"), (4, "'dropout'")):
        assert any(
            f"study.yaml:{line}:" in said and words in said
            for said in caught.value.message.splitlines()
        )


def test_the_plan_says_what_each_method_of_a_mix_makes():
    known = pb.PlanAugmentationResponse(image_count=8)
    known.methods.add(method="mvc", share=0.625, image_count=5, model="pix2pix", made_count=5)
    known.methods.add(method="retrieval", share=0.375, image_count=3)
    said = "\n".join(lines(pb.Dataset(), RunPlan(by_method("mix", known))))
    assert "mix, mvc (62.5 %): 5 images" in said
    assert "mix, retrieval (37.5 %): 3 images from the pool" in said
