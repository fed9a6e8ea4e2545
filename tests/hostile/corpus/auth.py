"""Hostile calls of a server with API keys: who calls, and what for."""

import base64

from tests.hostile.wire import IMAGE, UNKNOWN, Case, get, post, request

READ = "read-0123456789abcdef"
PREDICT = "predict-0123456789abcdef"
ADMIN = "admin-0123456789abcdef"
WRONG = "wrong-0123456789abcdef"
LONG = "long-0123456789abcdef" * 300
FILE = f"read read {READ}\npredict predict {PREDICT}\nadmin admin {ADMIN}\n"
BASIC = base64.b64encode(f"admin:{ADMIN}".encode()).decode()
SECRETS = (READ, PREDICT, ADMIN, WRONG, LONG[:100], BASIC, "0123456789abcdef")
"""What no log and no reply may hold."""

UNAUTHORIZED = "unauthorized"
FORBIDDEN = "forbidden"
ADMIN_CALLS = {
    "deleting all": "DELETE /deleteAll", "an import": "POST /import", "an export": "POST /export",
}  # fmt: skip
CALLS = ADMIN_CALLS | {
    "the status": "GET /status",
    "a list": "GET /predictResults",
    "a result": f"GET /predictResults/{UNKNOWN}",
    "deleting": f"DELETE /delete/{UNKNOWN}",
    "nothing": "GET /nothing",
    "another method": "PUT /predict",
    "OPTIONS": "OPTIONS /predict",
    "a HEAD": "HEAD /status",
    "TRACE": "TRACE /status",
}


def _call(line: str, *headers: str) -> bytes:
    return request(f"{line} HTTP/1.1", *headers)


def _bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def _key(key: str) -> str:
    return f"X-API-Key: {key}"


def _refused(name: str, *headers: str, path: str = "/predictResults") -> Case:
    """A case of one who is not known."""
    return Case(name, get(path, *headers), 401, UNAUTHORIZED)


def _unread(name: str, status: int, error: str, *headers: str, length: int = 99) -> Case:
    """A case that is answered before any of its body is sent, or asked for."""
    head = ("Content-Type: image/png", f"Content-Length: {length}", "Expect: 100-continue")
    return Case(name, request("POST /predict HTTP/1.1", *head, *headers), status, error)


CASES = (
    # No key, or none that is known
    *(
        Case(f"no key for {title}", _call(line), 401, None if "HEAD" in line else UNAUTHORIZED)
        for title, line in CALLS.items()
    ),
    Case("no key for a predict", post(), 401, UNAUTHORIZED),
    Case("no key for a health check", get("/livez"), 200),
    Case("a wrong key for a health check", get("/readyz", _bearer(WRONG)), 200),
    _refused("a wrong key", _bearer(WRONG)),
    _refused("a wrong X-API-Key", _key(WRONG)),
    _refused("a key without its last letter", _bearer(ADMIN[:-1])),
    _refused("a key and one letter more", _bearer(ADMIN + "f")),
    _refused("a key in capitals", _bearer(ADMIN.upper())),
    _refused("the name of a key", _bearer("admin")),
    _refused("a whole line of the file", _bearer(f"admin admin {ADMIN}")),
    _refused("a very long key", _bearer(LONG)),
    _refused("a very long X-API-Key", _key(LONG)),
    _refused("a key with an umlaut", _bearer(ADMIN + "\xfc")),
    _refused("a key in full-width letters", _key("\xef\xbd\x81" + ADMIN[1:])),
    _refused("a key in quotes", _bearer(f'"{ADMIN}"')),
    _refused("a key with a comma behind it", _bearer(f"{ADMIN},")),
    _refused("a star", _bearer("*")),
    _refused("a star for a key", _key("*")),
    _refused("SQL", _key("' OR '1'='1")),
    # Headers that are none
    _refused("an empty Authorization", "Authorization: "),
    _refused("an empty X-API-Key", "X-API-Key: "),
    _refused("a Bearer of nothing", "Authorization: Bearer"),
    _refused("a Bearer of a space", "Authorization: Bearer  "),
    _refused("a key without Bearer", f"Authorization: {ADMIN}"),
    _refused("a key behind a tab", f"Authorization: Bearer\t{ADMIN}"),
    _refused("Basic", f"Authorization: Basic {BASIC}"),
    _refused("Digest", f'Authorization: Digest username="admin", response="{ADMIN}"'),
    _refused("Token", f"Authorization: Token {ADMIN}"),
    _refused("Bearer twice", f"Authorization: Bearer Bearer {ADMIN}"),
    _refused("a key for a proxy", f"Proxy-Authorization: Bearer {ADMIN}"),
    _refused("a key in a cookie", f"Cookie: X-API-Key={ADMIN}"),
    _refused("a key in the query", path=f"/predictResults?api_key={ADMIN}"),
    _refused("a key in the path", path=f"/{ADMIN}"),
    _refused("an underscore in the header's name", f"X_API_Key: {ADMIN}"),
    Case("a key in the URL", _call(f"GET http://admin:{ADMIN}@x/status"), 401, UNAUTHORIZED),
    Case("a key with NUL", get("/status", _bearer(f"{ADMIN}\0")), 400, "malformed_request",
         closed=True),
    Case("a key over two lines", get("/status", "Authorization: Bearer", f" {ADMIN}"), 400,
         "malformed_request", closed=True),
    Case("a key of 9,000 characters", get("/status", _bearer(LONG * 2)), 400, "malformed_request",
         closed=True),
    # Several
    _refused("two keys, the second known", _bearer(WRONG), _bearer(ADMIN)),
    _refused("two keys, the first known", _bearer(ADMIN), _bearer(WRONG)),
    _refused("two known keys", _bearer(READ), _bearer(ADMIN)),
    _refused("two X-API-Keys, the first known", _key(ADMIN), _key(WRONG)),
    _refused("both headers, one wrong", _bearer(ADMIN), _key(WRONG)),
    _refused("both headers, the other wrong", _bearer(WRONG), _key(ADMIN)),
    _refused("both headers, of two known keys", _bearer(READ), _key(ADMIN)),
    Case("both headers, the same key", get("/status", _bearer(READ), _key(READ)), 200),
    Case("Basic for another, and a key", get("/status", "Authorization: Basic eA==", _key(READ)),
         200),
    # Known, but written otherwise
    Case("a scheme in small letters", get("/status", f"authorization: bearer {READ}"), 200),
    Case("a scheme in capitals", get("/status", f"AUTHORIZATION: BEARER {READ}"), 200),
    Case("spaces around a key", get("/status", f"Authorization:   Bearer   {READ}  "), 200),
    Case("spaces around an X-API-Key", get("/status", f"x-api-key:   {READ}  "), 200),
    # Not allowed this
    *(
        Case(f"the {name} key for {title}", _call(line, _bearer(key)), 403, FORBIDDEN)
        for name, key in {"read": READ, "predict": PREDICT}.items()
        for title, line in ADMIN_CALLS.items()
    ),
    *(
        Case(f"the read key for {path}", post(IMAGE, "image/png", _bearer(READ), path=path), 403,
             FORBIDDEN)
        for path in ("/predict", "/asyncPredict")
    ),
    Case("the read key for deleting", _call(f"DELETE /delete/{UNKNOWN}", _bearer(READ)), 403,
         FORBIDDEN),
    Case("the predict key for a list", get("/predictResults", _bearer(PREDICT)), 403, FORBIDDEN),
    Case("the predict key for a HEAD", _call("HEAD /predictResults", _bearer(PREDICT)), 403),
    Case("the read key for another method", _call("PUT /deleteAll", _key(READ)), 405,
         "method_not_allowed"),
    Case("the read key for OPTIONS", _call("OPTIONS /deleteAll", _key(READ)), 405,
         "method_not_allowed"),
    Case("the read key and another method's name", _call("GET /status", _bearer(READ),
         "X-HTTP-Method-Override: DELETE"), 200),
    Case("the read key and another path's name", get("/status", _bearer(READ),
         "X-Original-URL: /deleteAll"), 200),
    Case("the read key and a path that climbs", _call("DELETE /livez/../deleteAll", _bearer(READ)),
         404, "not_found"),
    Case("no key and a path that climbs", _call("DELETE /livez/../deleteAll"), 401, UNAUTHORIZED),
    Case("no key and an escaped path", _call("DELETE /%64eleteAll"), 401, UNAUTHORIZED),
    # Before the body
    _unread("no key, asked for the body", 401, UNAUTHORIZED),
    _unread("a wrong key, asked for the body", 401, UNAUTHORIZED, _bearer(WRONG)),
    _unread("a wrong key, asked for 4 GB", 401, UNAUTHORIZED, _key(WRONG), length=2**32),
    _unread("the read key, asked for the body", 403, FORBIDDEN, _bearer(READ)),
    Case("a wrong key and a body that is none", post(b"junk", "a/b", _bearer(WRONG)), 401,
         UNAUTHORIZED),
    Case("no key and a framing that is none", post(IMAGE, "image/png", "Transfer-Encoding: x"), 400,
         "malformed_request", closed=True),
    # Allowed
    Case("the predict key for a predict", post(IMAGE, "image/png", _key(PREDICT)), 200),
    Case("the admin key for a list", get("/predictResults", _bearer(ADMIN)), 200),
)  # fmt: skip
