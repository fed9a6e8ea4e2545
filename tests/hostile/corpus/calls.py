"""Hostile calls: paths, ids, parameters, and headers that the handlers read."""

from tests.hostile.wire import (
    ID,
    IMAGE,
    NOT_FOUND,
    PARAMETER,
    UNKNOWN,
    Case,
    get,
    post,
    request,
)


def _result(request_id: str) -> bytes:
    return get(f"/predictResults/{request_id}")


def _deleted(request_id: str) -> bytes:
    return request(f"DELETE /delete/{request_id} HTTP/1.1")


def _listed(query: str) -> bytes:
    return get(f"/predictResults?{query}")


def _flagged(value: str) -> bytes:
    return post(path=f"/predict?save_locally={value}")


def _keyed(value: str) -> bytes:
    return post(IMAGE, "image/png", f"Idempotency-Key: {value}")


def _preferring(value: str) -> bytes:
    return get(f"/predictResults/{UNKNOWN}", f"Prefer: {value}")


CASES = (
    # Paths
    Case("nothing", get("/nothing"), 404, NOT_FOUND),
    Case("the root of the files", get("/../../../etc/passwd"), 404, NOT_FOUND),
    Case("an encoded climb", get("/%2e%2e/%2e%2e/etc/passwd"), 404, NOT_FOUND),
    Case("an encoded slash", get("/predictResults%2f" + UNKNOWN), 404, NOT_FOUND),
    Case("a slash at the end", get("/predictResults/"), 404, NOT_FOUND),
    Case("the path in capitals", get("/PREDICTRESULTS"), 404, NOT_FOUND),
    Case("an encoded NUL", get("/livez%00"), 404, NOT_FOUND),
    Case("an encoded line end", get("/livez%0d%0aX:%20y"), 404, NOT_FOUND),
    Case("a broken escape", get("/%zz"), 404, NOT_FOUND),
    Case("half an escape", get("/%"), 404, NOT_FOUND),
    Case("an escaped broken UTF-8", get("/%ff%fe"), 404, NOT_FOUND),
    Case("an escaped surrogate", get("/%ed%a0%80"), 404, NOT_FOUND),
    Case("a path of HTML", get("/<script>alert(1)</script>"), 404, NOT_FOUND),
    Case("a path of a template", get("/{{7*7}}${7*7}"), 404, NOT_FOUND),
    Case("a path of 8 kB", get("/" + "a/" * 4000), 404, NOT_FOUND),
    Case("a hidden file", get("/.git/config"), 404, NOT_FOUND),
    Case("the database", get("/predictions.db"), 404, NOT_FOUND),
    # Ids
    Case("an unknown id", _result(UNKNOWN), 404, NOT_FOUND),
    Case("an unknown id in capitals", _result(UNKNOWN.upper()), 404, NOT_FOUND),
    Case("an unknown id without dashes", _result(UNKNOWN.replace("-", "")), 404, NOT_FOUND),
    Case("an id of zeros", _result("0" * 32), 404, NOT_FOUND),
    Case("a number for an id", _result("7"), 400, ID),
    Case("an id cut short", _result(UNKNOWN[:-1]), 400, ID),
    Case("an id too long", _result(UNKNOWN + "0"), 400, ID),
    Case("an id in braces", _result("{" + UNKNOWN + "}"), 404, NOT_FOUND),
    Case("an id as a URN", _result("urn:uuid:" + UNKNOWN), 400, ID),
    Case("an id with a space", _result(UNKNOWN + "%20"), 400, ID),
    Case("an id with a line end", _result(UNKNOWN + "%0a"), 400, ID),
    Case("an id with NUL", _result(UNKNOWN + "%00"), 400, ID),
    Case("an id of Arabic digits", _result("%d9%a1" * 32), 400, ID),
    Case("an id of 8 kB", _result("a" * 8000), 400, ID),
    Case("an id of SQL", _result("'%20OR%20'1'='1"), 400, ID),
    Case("an id that climbs", _result("..%2f..%2fetc%2fpasswd"), 400, ID),
    Case("an id of broken UTF-8", _result("%ff"), 400, ID),
    Case("an unknown id to delete", _deleted(UNKNOWN), 404, NOT_FOUND),
    Case("a star to delete", _deleted("*"), 400, ID),
    Case("a percent sign to delete", _deleted("%25"), 400, ID),
    Case("a climb to delete", _deleted("..%2f..%2fpredictions.db"), 400, ID),
    Case("nothing to delete", _deleted(""), 404, NOT_FOUND),
    # Parameters of lists
    *(
        Case(f"a limit of {title}", _listed(f"limit={value}"), 400, PARAMETER)
        for title, value in {
            "nothing": "", "zero": "0", "-1": "-1", "1001": "1001", "a word": "ten",
            "a fraction": "1.5", "a power": "1e2", "hex": "0x10", "a plus": "%2b5",
            "5,000 digits": "9" * 5000, "Arabic digits": "%d9%a3", "NUL": "5%00", "SQL": "1;--",
        }.items()
    ),
    *(
        Case(f"a status of {title}", _listed(f"limit=1&status={value}"), 400, PARAMETER)
        for title, value in {"nothing": "", "a word": "Done", "NUL": "Fail%00"}.items()
    ),
    *(
        Case(f"a time of {title}", _listed(f"limit=1&since={value}"), 400, PARAMETER)
        for title, value in {
            "a word": "now", "no such day": "2026-02-30", "the year 10000": "10000-01-01",
            "a zone too far": "2026-01-01T00:00:00%2b25:00", "5,000 digits": "9" * 5000,
        }.items()
    ),
    Case("the first time there is", _listed("limit=1&since=0001-01-01T00:00:00%2b14:00"), 200),
    Case("the last time there is", _listed("limit=1&since=9999-12-31T23:59:59-14:00"), 200),
    *(
        Case(f"a cursor of {title}", _listed(f"limit=1&cursor={value}"), 400, PARAMETER)
        for title, value in {
            "a letter": "x", "nothing": "", "5,000 letters": "A" * 5000, "NUL": "%00" * 22,
            "umlauts": "%c3%bc" * 22, "a climb": "../../etc/passwd",
        }.items()
    ),
    Case("a cursor of the largest place", _listed("limit=1&cursor=f" + "_" * 20 + "w"), 200),
    Case("a cursor of the smallest place", _listed("limit=1&cursor=gAAAAAAAAACAAAAAAAAAAA"), 200),
    Case("a parameter nobody knows", _listed("limit=1&admin=true"), 200),
    Case("parameters of brackets", _listed("limit=1&a[b][c]=d&__proto__=e"), 200),
    # Flags
    *(
        Case(f"a flag of {title}", _flagged(value), 400, PARAMETER)
        for title, value in {
            "a word": "maybe", "2": "2", "NUL": "true%00", "broken UTF-8": "%ff",
            "a path": "../../tmp", "8 kB": "a" * 8000,
        }.items()
    ),
    # Idempotency keys
    Case("an empty key", _keyed(""), 400, PARAMETER),
    Case("a key of 255 characters", _keyed("k" * 255), 200),
    Case("a key of 256 characters", _keyed("k" * 256), 400, PARAMETER),
    Case("a key with an umlaut", _keyed("\xfc"), 400, PARAMETER),
    Case("a key of an escape", _keyed("\xc2\x9b2J"), 400, PARAMETER),
    Case("a key of SQL", _keyed("'; DROP TABLE predictions; --"), 200),
    Case("two keys", post(IMAGE, "image/png", "Idempotency-Key: a1", "Idempotency-Key: a2"),
         400, PARAMETER),
    # Preferences
    *(
        Case(f"a preference of {title}", _preferring(value), 404, NOT_FOUND)
        for title, value in {
            "nothing": "", "commas": "," * 5000, "a negative wait": "wait=-1",
            "a wait of ever": "wait=" + "9" * 5000, "a wait of a word": "wait=long",
            "a wait of a fraction": "wait=0.5", "an open quote": 'wait="1', "an umlaut": "\xfc",
            "equals": "====", "two waits": "wait=0, wait=9",
        }.items()
    ),
    Case("a preference of respond-async and garbage",
         post(b"", "image/png", "Prefer: respond-async;;;=, \""), 400, "empty_image"),
)  # fmt: skip
