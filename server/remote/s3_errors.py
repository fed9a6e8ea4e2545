"""What an S3 store's refusals and failures mean, in sentences for people."""

from http import HTTPStatus
from typing import Final

from botocore import exceptions as boto

from server.remote import ConflictError, MissingError, RemoteError

_RIGHTS: Final = "check the credentials, and that they may put, get, list and delete there"
_CREDENTIALS: Final = (
    "no usable credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
    " AWS_PROFILE, or a role for this machine"
)
_UNREACHABLE: Final = "can't be reached: check the network and AWS_ENDPOINT_URL"
_STRANGE: Final = (
    "did not answer as S3 does: check that AWS_ENDPOINT_URL names an S3 store,"
    " and that no proxy or login page answers in its place"
)

# The codes of S3 and of the stores that speak like it, each with what to do.
_CODES: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"),
        "this machine's clock is wrong: put it right (switch time synchronisation on)",
    ),
    "NoSuchBucket": "there is no such bucket: make it, or correct the remote's URL",
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
        "the credentials have expired: renew them",
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        "the bucket is in another region: set AWS_REGION to it",
    ),
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "ThrottlingException", "RequestLimitExceeded"),
        "it is overloaded: if that lasts, send it fewer requests",
    ),
    **dict.fromkeys(
        ("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull"),
        "the store is full: make room there",
    ),
    "InvalidStorageClass": "it does not know the storage class: correct or drop that setting",
    **dict.fromkeys(
        (
            "InvalidTag",
            "InvalidEncryptionAlgorithmError",
            "ServerSideEncryptionConfigurationNotFoundError",
        ),
        "it does not take the encryption: correct or drop that setting",
    ),
    **dict.fromkeys(
        ("NotImplemented", "MethodNotAllowed"),
        "it lacks what the server needs: conditional writes, checksums and multipart uploads",
    ),
    "BadDigest": "the bytes arrived damaged: check the network and the proxies on the way",
    "XAmzContentSHA256Mismatch": "the bytes arrived damaged: check the network and the proxies"
    " on the way",
}

# The failures that no answer of the store stands behind; the first that fits counts.
_FAILURES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.ProfileNotFound,
            boto.TokenRetrievalError,
            boto.SSOError,
            boto.LoginError,
        ),
        _CREDENTIALS,
    ),
    (
        (boto.SSLError,),
        "can't be trusted: name the file of the authorities that signed its certificate",
    ),
    ((boto.ReadTimeoutError,), "did not answer in time: check the network and the store"),
    (
        (boto.FlexibleChecksumError, boto.IncompleteReadError, boto.ResponseStreamingError),
        "gave a damaged or incomplete object: check the network and the store",
    ),
    ((boto.ConnectionError, boto.ConnectionClosedError), _UNREACHABLE),
)


def strange(url: str) -> RemoteError:
    """The store's answer lacks what S3 always says, whatever its status."""
    return RemoteError(f"{url} {_STRANGE}")


def explained(url: str, error: Exception) -> RemoteError:
    """The same failure with a sentence that says what to do; never holds a secret."""
    if isinstance(error, boto.ClientError):
        return _refusal(url, error)
    for kinds, sentence in _FAILURES:
        if isinstance(error, kinds):
            return RemoteError(f"{url} {sentence}")
    if isinstance(error, TimeoutError):
        return RemoteError(f"{url} did not answer in time: check the network and the store")
    name = type(error).__name__
    if name == "ClientPayloadError":  # the HTTP client's own, for a body that ends too early
        return RemoteError(f"{url} broke off an answer: check the network and the store")
    if name == "ResponseParserError":
        return strange(url)
    return RemoteError(f"{url} can't be used ({name}): check the AWS settings of this machine")


def _refusal(url: str, error: boto.ClientError) -> RemoteError:
    """What the store said by status and code; its message is left out, as it may say too much."""
    code = str(error.response.get("Error", {}).get("Code", "") or "no code")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == HTTPStatus.PRECONDITION_FAILED or code == "ConditionalRequestConflict":
        return ConflictError(f"{url} holds something else than expected: another server writes")
    if code == "NoSuchKey":
        name = error.response["Error"].get("Key", "of that key")
        return MissingError(f"{url} has no object {name}")
    if code in _CODES:
        does = _CODES[code]
    elif code.startswith("KMS."):
        does = "check the KMS key, and that the credentials may use it"
    elif status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        does = _RIGHTS
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        does = "it is out of order: if that lasts, check the store"
    else:
        does = "check the remote's URL, AWS_ENDPOINT_URL and AWS_REGION"
    said = code if code == str(status) else f"{status} {code}"
    return RemoteError(f"{url} refused the request ({said}): {does}")
