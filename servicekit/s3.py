"""An object store on any S3 server, through the minio client."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from servicekit.errors import InvalidArgument, Precondition, ServiceError, Unavailable
from servicekit.storage import check_key, missing

_ABSENT = {"NoSuchKey", "NoSuchObject", "NotFound"}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


class S3Store:
    """Objects of one bucket. The bucket must exist."""

    def __init__(self, client: Minio, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    def from_options(
        cls, bucket: str, options: Mapping[str, str], environ: Mapping[str, str]
    ) -> "S3Store":
        """Opens a bucket; `options` are endpoint (required), secure and region."""
        unknown = set(options) - {"endpoint", "secure", "region"}
        if unknown or "endpoint" not in options or not bucket:
            raise InvalidArgument(
                "an S3 store is s3://BUCKET?endpoint=HOST:PORT, with secure and region if needed",
                field="store",
                reason="BAD_STORE",
            )
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            maxsize=32,
            retries=urllib3.Retry(
                total=4,
                backoff_factor=0.2,
                backoff_jitter=0.2,
                status_forcelist=[500, 502, 503, 504],
            ),
        )
        client = Minio(
            options["endpoint"],
            access_key=environ.get("AWS_ACCESS_KEY_ID"),
            secret_key=environ.get("AWS_SECRET_ACCESS_KEY"),
            secure=options.get("secure", "true").lower() == "true",
            region=options.get("region", "us-east-1"),
            http_client=pool,
        )
        return cls(client, bucket)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        if not overwrite and self.exists(key):
            return False
        self._call(key, "put_object", key, io.BytesIO(data), len(data))
        return True

    def get(self, key: str) -> bytes:
        response = self._call(key, "get_object", check_key(key))
        try:
            return bytes(response.read())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(key, error) from error
        finally:
            response.close()
            response.release_conn()

    def exists(self, key: str) -> bool:
        try:
            self._call(key, "stat_object", check_key(key))
        except ServiceError as error:
            if error.reason == "NOT_FOUND":
                return False
            raise
        return True

    def size(self, key: str) -> int:
        return int(self._call(key, "stat_object", check_key(key)).size)

    def list(self, prefix: str) -> Iterator[str]:
        try:
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            yield from sorted(str(item.object_name) for item in found)
        except Exception as error:
            raise self._translate(prefix, error) from error

    def delete(self, key: str) -> None:
        self._call(key, "remove_object", check_key(key))

    def _call(self, key: str, method: str, *args: Any) -> Any:
        try:
            return getattr(self._client, method)(self._bucket, *args)
        except Exception as error:
            raise self._translate(key, error) from error

    def _translate(self, key: str, error: Exception) -> Exception:
        if isinstance(error, S3Error):
            return self._translate_s3(key, error)
        if isinstance(error, urllib3.exceptions.HTTPError | ServerError | InvalidResponseError):
            return self._unreachable(key, error)
        return error

    def _translate_s3(self, key: str, error: S3Error) -> ServiceError:
        if error.code in _ABSENT:
            return missing(key)
        if error.code == "NoSuchBucket":
            return Precondition(
                f"the bucket {self._bucket} does not exist; create it first",
                subject=self._bucket,
                reason="BUCKET_MISSING",
            )
        if error.code in _DENIED:
            return Precondition(
                f"the store refuses these credentials for {self._bucket}/{key} ({error.code}); "
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
                subject=self._bucket,
                reason="STORE_ACCESS_DENIED",
            )
        return self._unreachable(key, error)

    def _unreachable(self, key: str, error: Exception) -> Unavailable:
        return Unavailable(
            f"the store cannot be reached for {self._bucket}/{key}: {error}",
            reason="STORE_UNREACHABLE",
        )
