"""BURG's retrieval baseline: the pool's nearest images to the class's prompt."""

from gateway.methods.base import ClassMaterial, Draft, Needs, Slot, Values, prompt_lineage


class Retrieval:
    """Looks images up instead of making them.

    k grows from 1.4 times what is wanted to six times that, until enough survive the filters. The
    paper also asks for an aesthetic score of at least 5, which holds for pools with a column
    `aesthetic`; there is no aesthetic model here.
    """

    id = "retrieval"
    description = (
        "Takes the pool's images nearest to the class's prompt in CLIP space; spaces inside "
        "a name are stripped, as in the paper: 'firetruck'."
    )
    source = "BURG, section 3.4 (retrieval)"
    model = ""
    needs = Needs(pool=True, prompt_strategy="simple_no_ws", prompt_count=1)
    parameters = ()

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        lineage = prompt_lineage(0, material, self.needs.prompt_strategy)
        return Draft(prompt=material.prompts[0], lineage=lineage)


METHOD = Retrieval()
