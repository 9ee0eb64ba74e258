"""What a choice of the best did not keep is beside the output, and can be looked at."""

import pyarrow.parquet as pq
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.augment.rows import ManifestRow, write_rows
from gateway.cli.work import unkept
from servicekit.storage import MemoryStore
from tests.gateway.pictures import picture


def test_the_others_are_in_a_table_and_on_a_page_with_their_scores(tmp_path):
    store, made = MemoryStore(), pb.Augmentation()
    rows = []
    for number in range(3):
        store.put(f"generated/{number}.png", picture(number))
        uri, name = f"store:generated/{number}.png", ("<cat>", "dog")[number % 2]
        row = ManifestRow(f"i{number}", uri, "", number % 2, name, "mvc", "generated")
        rows.append(ManifestRow(**{**vars(row), "clip_score": 0.25}))
    store.put("a/unkept.parquet", write_rows(rows))
    made.result.kept.unkept_uri, made.result.kept.score = "store:a/unkept.parquet", "clip_score"
    unkept.write(store, made, tmp_path)
    assert pq.read_table(tmp_path / "not_kept.parquet").num_rows == 3
    page = (tmp_path / "not_kept.html").read_text()
    assert page.count("<img") == page.count("clip_score 0.250") == 3
    assert "&lt;cat&gt;" in page and "<cat>" not in page
    assert {file.name for file in tmp_path.iterdir()} == {"not_kept.parquet", "not_kept.html"}
