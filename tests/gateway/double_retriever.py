"""The retriever as a small deterministic gRPC server; see tests.gateway.doubles."""

import hashlib
import io
import json
import zlib

import numpy as np
import pyarrow.parquet as pq
from google.longrunning import operations_pb2, operations_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from imaging.decode import decode_image
from imaging.hashing import perceptual_hash, pixel_sha256
from servicekit.storage import to_key, to_uri


class Retriever(
    retriever_pb2_grpc.RetrieverServiceServicer, operations_pb2_grpc.OperationsServicer
):
    def __init__(self, store, trouble):
        self.store, self.trouble = store, trouble
        self.asked, self.indexes, self.encoder, self.broken = [], [], "double-clip", []

    async def CreateIndex(self, request, context):
        self.indexes.append(request.index_id)
        data = self.store.get(to_key(request.pool_uri))
        self.pool = pq.read_table(io.BytesIO(data)).to_pylist()
        for row in self.pool:
            row["sha256"] = hashlib.sha256(row["image"]["bytes"]).hexdigest()
            row["uri"] = to_uri(f"images/{row['sha256'][:2]}/{row['sha256']}.jpg")
            self.store.put(to_key(row["uri"]), row["image"]["bytes"])
        uris = [row["uri"] for row in self.pool]  # As the real one's metadata have them.
        document = json.dumps({"pool_uri": request.pool_uri, "uris": uris}).encode()
        self.store.put(f"indexes/{request.index_id}/index.json", document)
        index = retriever_pb2.Index(
            name=f"indexes/{request.index_id}",
            digest="d1d1",
            encoder=self.encoder,
            image_count=len(self.pool),
            broken_shards=self.broken,
        )
        if "aesthetic" in self.pool[0]:
            index.columns.add(name="aesthetic", kind=retriever_pb2.Column.KIND_NUMBER)
        operation = operations_pb2.Operation(name="operations/index", done=True)
        operation.response.Pack(index)
        return operation

    async def SearchImages(self, request, context):
        text = request.queries[0].text
        self.asked.append(request.hit_count)
        hits = []
        least = max((one.between.least for one in request.filters), default=0)
        for row in self.pool:
            if row.get("aesthetic", 0) < least:
                continue
            noise = int(hashlib.sha256((text + row["sha256"]).encode()).hexdigest()[:4], 16)
            likeness = noise / 65536 * 0.5 + 0.4 * (row["class_name"] in text)
            hits.append((-likeness, row))
        hits.sort(key=lambda hit: hit[0])
        answer = retriever_pb2.HitList()
        for likeness, row in hits[: request.hit_count]:
            answer.hits.add(
                image_uri=row["uri"],
                sha256=row["sha256"],
                similarity=-likeness,
                caption=row.get("caption", ""),
            )
        return retriever_pb2.SearchImagesResponse(results=[answer])

    async def SampleImages(self, request, context):
        [condition] = request.filters
        if condition.column == "label":
            numbers = range(int(condition.between.least), int(condition.between.most) + 1)
            found = [row for row in self.pool if row.get("label", -1) in numbers]
        else:
            names = set(condition.one_of.texts)
            found = [row for row in self.pool if row.get("class_name", "") in names]
        found.sort(key=lambda row: zlib.crc32(f"{request.seed} {row['sha256']}".encode()))
        answer = retriever_pb2.SampleImagesResponse()
        for row in found[request.skip_count :][: request.image_count]:
            answer.images.add(image_uri=row["uri"], sha256=row["sha256"])
        return answer

    async def GetModels(self, request, context):
        return retriever_pb2.Models(
            encoder=self.encoder, safety="double-safety", engine=self.trouble.device
        )

    async def EmbedTexts(self, request, context):
        if known := self.trouble.clip_knows:
            vectors = [_axis(1 if known in text else 2, self.encoder) for text in request.texts]
            return retriever_pb2.EmbedTextsResponse(embeddings=vectors)
        same = self.trouble.prompts_alike
        return retriever_pb2.EmbedTextsResponse(
            embeddings=[
                _embedding("same" if same else text, "real" in text, self.encoder)
                for text in request.texts
            ],
            cut_texts=[n for n, text in enumerate(request.texts) if "contextual 0" in text],
        )

    async def EmbedImages(self, request, context):
        self.trouble.looked.extend(request.image_uris)
        if self.trouble.clip_knows:
            vectors = [
                _axis(2 if "generated" in uri else 1, self.encoder) for uri in request.image_uris
            ]
            return retriever_pb2.EmbedImagesResponse(embeddings=vectors)
        return retriever_pb2.EmbedImagesResponse(
            embeddings=[_embedding(uri, True, self.encoder) for uri in request.image_uris]
        )

    async def ScreenImages(self, request, context):
        checked = request.policy.HasField("max_unsafe_score")
        protected = self._protected(request.protected_manifest_uri)
        answer = retriever_pb2.ScreenImagesResponse()
        for candidate in request.candidates:
            self.trouble.candidates.append((candidate.image_uri, checked))
            self.trouble.texts.append(candidate)
            image = decode_image(self.store.get(to_key(candidate.image_uri)))
            pixels = pixel_sha256(image)
            reasons = []
            if int(pixels[:6], 16) / 2**24 < self.trouble.unsafe_share:
                reasons.append("UNSAFE")
            if pixels in protected:
                reasons.append("EXACT_DUPLICATE")
            answer.verdicts.add(
                accepted=not reasons,
                reasons=reasons,
                unsafe_score=0.1 if checked else -1,
                clip_score=int(pixels[6:10], 16) / 65536,
                pixel_sha256=pixels,
                perceptual_hash=perceptual_hash(image),
                duplicate_of_uri=protected.get(pixels, ""),
            )
        return answer

    def _protected(self, uri):
        rows = pq.read_table(io.BytesIO(self.store.get(to_key(uri)))).to_pylist() if uri else []
        images = {row["image_uri"]: self.store.get(to_key(row["image_uri"])) for row in rows}
        return {pixel_sha256(decode_image(data)): uri for uri, data in images.items()}


def _axis(number, encoder):
    return retriever_pb2.Embedding(data=np.eye(64)[number].astype("<f4").tobytes(), encoder=encoder)


def _embedding(text, is_real, encoder):
    """Noise, and in one direction if it is real."""
    vector = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(64)
    vector[0] = 10 * is_real
    data = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
    return retriever_pb2.Embedding(data=data, encoder=encoder)
