"""What is tried on the labelling server, and what each gets: against `asal label` itself, over bare sockets.

The rows of this file are the table in docs/explanation/security.md; run this file with Python to write it there.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.attacks import CLASSES, SECRET_PLACE, Attack, Reply, Target, answer, project, spoken, table
from support.commands import Command
from support.http_clients import Served, free_port
from support.image_files import bomb

from asal.data.pool import StoredPool
from asal.labelling.annotators import Annotators
from asal.session.events import Record
from asal.session.state import State, fold
from asal.web.middleware import HEADERS, LIMIT

DOCUMENT = ROOT / "docs" / "explanation" / "security.md"
READS = ("project", "status", "history", "stopping", "team", "why/{0}", "guess/{0}", "openapi.json")
BEGIN, END = "<!-- attacks: written by tests/system/web/test_attacks.py -->", "<!-- attacks end -->"


# With which token ---------------------------------------------------------------------------------------------------


def everywhere(t: Target, headers: Sequence[tuple[str, str]]) -> list[Reply]:
    """Request every address."""
    first = t.asked[0]
    paths = [f"/api/{name.format(first)}" for name in READS]
    paths += [f"/images/{first}.png", f"/photos/{first}.jpg?edge=256", f"/why/{first}.png"]
    found = [t.send("GET", path, headers) for path in paths]
    for name, content in (("leave", {}), ("answers", answer(t.asked[4])), ("next", {"tab": "t"})):
        body = json.dumps(content).encode()
        kind = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        found.append(t.send("POST", f"/api/{name}", [*kind, *headers], body))
    return found


def bearing(t: Target, token: str) -> list[Reply]:
    return everywhere(t, [("Authorization", f"Bearer {token}")]) + everywhere(
        t, [("Cookie", f"asal-{t.served.port}={token}"), ("Origin", f"http://{t.host}")]
    )


def wrong_secrets(t: Target) -> list[Reply]:
    prefix, number, secret = t.tokens["Ada"].split("_", 2)
    other = "A" if secret[-1] != "A" else "B"
    tokens = [f"{prefix}_{number}_{secret[:-1]}{other}", f"{prefix}_{number}_", f"{prefix}_{'0' * 16}_{secret}"]
    return [reply for token in tokens for reply in bearing(t, token)]


def odd_tokens(t: Target) -> list[Reply]:
    odd = [
        "",
        "asal",
        "asal__",
        "' OR 1=1 --",
        "asal_' OR ''='_x",
        "asal_%00_x",
        "asal_\u00e9_x",
        "x" * 10_000,
        "asal_a_" + "b" * 300,
    ]
    found = [t.get("/api/status", "", ("Authorization", f"Bearer {token}")) for token in odd]
    found += [t.get("/api/status", "", ("Authorization", one)) for one in ("Bearer", "Basic QWRhOng=", "Bearer\t\t")]
    return found + [t.post("/api/enter", {"token": one or "?"}, "") for one in (*odd[:7], "asal_\ud800_x", "asal_\0_x")]


def left(t: Target) -> list[Reply]:
    t.enter("Bob")
    assert t.browser("/api/leave", {}, ("Origin", f"http://{t.host}")).status == 200
    again = [t.get("/api/status", "", ("Cookie", t.cookie))]
    t.enter()
    return again


TOKENS = [
    Attack(
        "every address, without a token",
        (401,),
        "everything but the sign-in page needs a token",
        lambda t: everywhere(t, []),
    ),
    Attack(
        "a token with one wrong letter, without its secret, or with another token's secret",
        (401,),
        "the SHA-256 of the secret is compared, in constant time",
        wrong_secrets,
    ),
    Attack("half a token", (401,), "its secret does not match", lambda t: bearing(t, t.tokens["Ada"][:-12])),
    Attack(
        "an expired token",
        (401,),
        "the time of expiry is stored with the token",
        lambda t: bearing(t, t.tokens["expired"]),
    ),
    Attack(
        "the token of a removed person",
        (401,),
        "tokens are looked up at every request",
        lambda t: bearing(t, t.tokens["Gone"]),
    ),
    Attack(
        "the token of another project",
        (401,),
        "tokens belong to one record",
        lambda t: bearing(t, t.tokens["other project"]),
    ),
    Attack("a cookie after signing out", (401,), "signing out deletes the cookie's token", left),
    Attack(
        "a token in the URL",
        (401,),
        "tokens are read from two headers only",
        lambda t: [
            t.send("GET", f"/api/status?token={t.tokens['Ada']}"),
        ],
    ),
    Attack(
        "an empty token, SQL, null bytes, half characters, ten thousand letters",
        (401, 422),
        "a token must have the right form",
        odd_tokens,
    ),
]


# From which page ----------------------------------------------------------------------------------------------------

EVIL = ("http://evil.example", "http://127.0.0.1:1", "https://evil.example", "http://127.0.0.1", "null", "file://", "")


def other_origins(t: Target) -> list[Reply]:
    body = answer(t.asked[4])
    found = [t.browser("/api/answers", body, ("Origin", origin)) for origin in EVIL]
    found += [t.browser("/api/answers", body, ("Origin", f"http://{t.host}.evil.example"))]
    return [*found, t.post("/api/answers", body, "Ada", ("Origin", EVIL[0]))]


def simple_forms(t: Target) -> list[Reply]:
    own, body = ("Origin", f"http://{t.host}"), answer(t.asked[4])
    kinds = (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/jsonp",
        "text/plain; application/json",
    )
    return [t.browser("/api/answers", body, own, kind=kind) for kind in kinds]


def preflights(t: Target) -> list[Reply]:
    asks = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")]
    return [t.send("OPTIONS", "/api/answers", [("Origin", EVIL[0]), *asks])]


def read_by_others(t: Target) -> list[Reply]:
    """Fetch, and load as a picture or a script, from a page of the same host, which brings the cookie along."""
    first = t.asked[0]
    paths = ("/api/history", f"/images/{first}.png", f"/photos/{first}.jpg?edge=256", "/static/main.js")
    return [t.get(path, "", ("Cookie", t.cookie), ("Origin", EVIL[1])) for path in paths]


def other_hosts(t: Target) -> list[Reply]:
    port = t.served.port
    hosts = (
        f"evil.example:{port}",
        "evil.example",
        f"127.0.0.1.evil.example:{port}",
        "localhost.evil.example",
        "localhost.",
        "localhost:99999",
        "localhost:",
        f"0.0.0.0:{port}",
        f"[::ffff:127.0.0.1]:{port}",
        "",
        f"127.0.0.1:{port}@evil.example",
        f"2130706433:{port}",
    )
    found = [t.send("GET", path, t.signed("Ada"), host=host) for host in hosts for path in ("/", "/api/status")]
    body = json.dumps(answer(t.asked[4])).encode()
    kind = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    origin = [("Origin", f"http://{hosts[0]}"), ("Cookie", t.cookie)]
    return [*found, t.send("POST", "/api/answers", [*kind, *origin], body, host=hosts[0])]


def forwarded(t: Target) -> list[Reply]:
    """Say that a proxy before the server was asked for another host, over https, under another path."""
    claims = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Script-Name", "/evil"),
        ("Forwarded", "host=evil.example;proto=https"),
    ]
    body = answer(t.asked[4])
    found = [t.browser("/api/answers", body, ("Origin", EVIL[0]), claim) for claim in claims]
    return [*found, t.browser("/api/answers", body, ("Origin", "https://evil.example"), *claims)]


def sockets(t: Target) -> list[Reply]:
    asks = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    return [t.send("GET", "/api/live", [*asks, *t.signed("Ada"), ("Connection", "Upgrade")])]


PAGES = [
    Attack(
        "a request from another page with the cookie: from another host, another port, `null`, an invalid origin",
        (403,),
        "Origin must be this server; the cookie is SameSite=Strict",
        other_origins,
    ),
    Attack(
        "the cookie without an Origin",
        (403,),
        "browsers always send an Origin with such requests",
        lambda t: [t.browser("/api/answers", answer(t.asked[4]))],
    ),
    Attack(
        "a page of another site signs the browser in as another person",
        (403,),
        "Origin is checked without a cookie, too",
        lambda t: [t.post("/api/enter", {"token": t.tokens["Bob"]}, "", ("Origin", EVIL[0]))],
    ),
    Attack(
        "the content types of HTML forms: text/plain, urlencoded, multipart, none",
        (415,),
        "only application/json is accepted",
        simple_forms,
    ),
    Attack("a CORS preflight from another page", (403,), "the server sends no Access-Control headers", preflights),
    Attack(
        "a page on another port of this host reads with the cookie",
        (403,),
        "Origin is checked for reading, too; Cross-Origin-Resource-Policy",
        read_by_others,
    ),
    Attack(
        "a foreign host name that resolves to this server (DNS rebinding), other spellings of the address",
        (403,),
        "Host must be a name of the loopback, at any port, or the name of --origin",
        other_hosts,
    ),
    Attack(
        "X-Forwarded-Host, -Proto, -Prefix, Forwarded: what a proxy would say of another page",
        (403,),
        "none of them is read: --origin and --root-path say where the page is",
        forwarded,
    ),
    Attack("a WebSocket", (404,), "the server has no WebSockets", sockets),
]


# For which address --------------------------------------------------------------------------------------------------

UP = (
    "../middleware.py",
    "..%2fmiddleware.py",
    "%2e%2e/middleware.py",
    "%2e%2e%2fmiddleware.py",
    "..%252fmiddleware.py",
    "..\\middleware.py",
    "..%5cmiddleware.py",
    "....//middleware.py",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "index.html%00.js",
    "main.js/",
    "main.js%2f..%2f..%2fmiddleware.py",
    ".",
    "..",
    "%c0%ae%c0%ae%c0%afmiddleware.py",
    "C:%5cWindows",
    "file:///etc/passwd",
    "main.JS",
    "~root",
    "main.js;x",
)


def upwards(t: Target) -> list[Reply]:
    found = [t.get(f"/static/{name}") for name in UP]
    found += [
        t.get(path)
        for path in (
            "//etc/passwd",
            "/../../etc/passwd",
            "/labels.db",
            "/asal.toml",
            "/%2e%2e/asal.toml",
            "/static",
            "/.git/config",
        )
    ]
    assert not any(b"root:" in reply.body or b"def " in reply.body for reply in found)
    return found


def image_paths(t: Target) -> list[Reply]:
    names = (
        *UP,
        "-1",
        "1.0",
        "1e1",
        "+1",
        "1_0",
        "0x10",
        "%31%20",
        "%D9%A1",
        "NaN",
        "9" * 30,
        "9" * 5_000,
        "1;DROP%20TABLE%20events",
        "",
        str(2**63),
    )
    found = [t.get(f"/{room}/{name}.png") for room in ("images", "why") for name in names]
    found += [t.get(f"/photos/{name}.jpg?edge=256") for name in names]
    return found + [t.get(f"/api/{room}/{name}") for room in ("why", "guess") for name in names[len(UP) :] if name]


def never_asked(t: Target) -> list[Reply]:
    free = next(number for number in range(50) if number not in t.asked)
    ids = (free, 10**6, 2**63 - 1)
    paths = ("/images/{}.png", "/photos/{}.jpg?edge=2048", "/why/{}.png", "/api/why/{}", "/api/guess/{}")
    return [t.get(path.format(image)) for image in ids for path in paths]


def odd_edges(t: Target) -> list[Reply]:
    edges = (
        "",
        "0",
        "-1",
        "1",
        "255",
        "257",
        "4096",
        "99999999999",
        "2048.0",
        "256px",
        "1e3",
        "../256",
        "%00",
        "%D9%A2%D9%A5%D9%A6",
    )
    return [t.get(f"/photos/{t.asked[0]}.jpg?edge={edge}") for edge in edges] + [t.get(f"/photos/{t.asked[0]}.jpg")]


def methods(t: Target) -> list[Reply]:
    found = [
        t.send(method, "/api/answers", t.signed("Ada"))
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "GET", "HEAD", "FOO")
    ]
    found += [t.send(method, "/api/status", t.signed("Ada")) for method in ("PUT", "DELETE", "OPTIONS", "HEAD")]
    return [*found, t.post("/api/status", {})]


ADDRESSES = [
    Attack(
        "paths that lead out of /static: dots, encoded, twice encoded, backslashes, absolute, null bytes",
        (404,),
        "only names of a fixed list are served",
        upwards,
    ),
    Attack(
        "the same as an image id, and −1, 1.0, +1, 1_0, digits of other scripts, numbers of 5,000 digits",
        (404, 422),
        "an image id is a whole number in the digits 0 to 9",
        image_paths,
    ),
    Attack("images that were never asked about", (404,), "only images that were asked about are shown", never_asked),
    Attack(
        "photographs of other sizes than two, to have the server compute",
        (422,),
        "an edge has 256 or 2,048 pixels, and each is kept once it is made",
        odd_edges,
    ),
    Attack("PUT, DELETE, PATCH, TRACE, invented methods", (405,), "there are no such routes", methods),
]


# With which body ----------------------------------------------------------------------------------------------------


def too_large(t: Target) -> list[Reply]:
    head = [*t.signed("Ada"), ("Content-Type", "application/json")]
    body = json.dumps(answer(t.asked[4])).encode() + b" " * LIMIT
    found = [t.send("POST", "/api/answers", [*head, ("Content-Length", str(len(body)))], body)]
    chunks = b"".join(b"1000\r\n" + b" " * 4096 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
    found += [t.send("POST", "/api/answers", [*head, ("Transfer-Encoding", "chunked")], chunks)]
    found += [
        t.send("POST", path, [*head, ("Content-Length", "9" * 18)])
        for path in ("/api/answers", "/api/enter", "/api/nothing")
    ]
    found += [t.send("GET", "/api/status", [*head, ("Content-Length", str(10**9))])]
    return found


def lying(t: Target) -> list[Reply]:
    """Send lengths that do not fit the body: surplus bytes are another request, and a short body never becomes one."""
    body = json.dumps(answer(t.asked[4])).encode()
    head = f"POST /api/answers HTTP/1.1\r\nHost: {t.host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {t.tokens['Ada']}\r\n"
    port = t.served.port
    return [
        spoken(port, f"{head}Content-Length: 5\r\n\r\n".encode() + body),
        spoken(port, f"{head}Content-Length: -1\r\n\r\n".encode() + body),
        spoken(port, f"{head}Content-Length: 1e3\r\n\r\n".encode() + body),
        spoken(port, f"{head}Content-Length: \u0662\r\n\r\n".encode() + body),
        spoken(port, f"{head}Content-Length: {len(body)}\r\nContent-Length: 5\r\n\r\n".encode() + body),
        spoken(port, f"{head}Transfer-Encoding: gzip, chunked\r\n\r\n".encode() + body),
        spoken(port, f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode() + body),
        spoken(port, f"{head}X: {'y' * 100_000}\r\n\r\n".encode()),
        spoken(port, f"{head}Host: evil.example\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body),
        *(
            spoken(port, f"GET /static/{name} HTTP/1.1\r\nHost: {t.host}\r\n\r\n".encode())
            for name in ("\u00e9", "\u0661", " 1")
        ),
        spoken(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n"),
    ]


def twice(t: Target) -> list[Reply]:
    body = json.dumps(answer(t.asked[4])).encode()
    kind, size = ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
    own = ("Origin", f"http://{t.host}")
    pairs = [
        [kind, ("Content-Type", "text/plain"), *t.signed("Ada")],
        [kind, *t.signed("Ada"), *t.signed("Bob")],
        [kind, ("Cookie", t.cookie), own, ("Origin", EVIL[0])],
    ]
    return [t.send("POST", "/api/answers", [size, *pair], body) for pair in pairs]


def malformed(t: Target) -> list[Reply]:
    bodies = (
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b'{"key": "\xc3"}',
        b"[" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"key": 1' + b"0" * 5_000 + b"}",
        b"{'key': 1}",
        b"\x00",
        b'{"key": "abcdefgh", "key": "abcdefgh"}',
    )
    return [t.post(f"/api/{path}", body) for body in bodies for path in ("answers", "next", "withdrawals")]


def odd_values(t: Target) -> list[Reply]:
    free = t.asked[4]
    wrong = [answer(image) for image in (-1, 1.5, True, str(free), None, [free], {"a": 1}, 2**63, 10**40, "\u0661")]
    wrong += [answer(free, label) for label in (-1, 0.0, False, "0", [0], 2**31, 10**40)]
    wrong += [answer(free, seconds=seconds) for seconds in (-1, "1", 1e9, True)]
    wrong += [
        answer(free, key=key)
        for key in ("", "short", "x" * 65, "with space", "k\u00e9y-long-enough", "a-key-with\n", 12345678)
    ]
    wrong += [answer(free, tab=tab) for tab in ("", "x" * 65, "<script>", None)]
    found = [t.post("/api/answers", body) for body in wrong]
    raw = json.dumps(answer(free, seconds=1.0)).encode()
    found += [
        t.post("/api/answers", raw.replace(b"1.0", number)) for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999")
    ]
    found += [t.post("/api/next", {"tab": "t", "n": n}) for n in (-1, 201, 1.5, "1", True)]
    found += [t.post("/api/next", {"tab": "t", "have": have}) for have in ([free] * 201, [-1], ["1"], "1", [[1]])]
    return [
        *found,
        t.post("/api/answers", {**answer(free), "answers": []}),
        t.post("/api/answers", {**answer(free), "answers": answer(free)["answers"] * 201}),
    ]


def unknown_fields(t: Target) -> list[Reply]:
    free = t.asked[4]
    bodies = [
        answer(free, by="Judge"),
        answer(free, one={"by": "Judge"}),
        answer(free, one={"__proto__": {}}),
        answer(free, one={"\ud800": 1}),
    ]
    return [t.post("/api/answers", body) for body in bodies] + [
        t.post("/api/leave", {"x": 1}),
        t.post("/api/enter", {"token": "x", "name": "Judge"}, ""),
    ]


BODIES = [
    Attack(
        "a body that is too large: by its length, in chunks, or only by its header",
        (413,),
        f"{LIMIT:,} bytes, counted as they arrive",
        too_large,
    ),
    Attack(
        "wrong lengths, requests that two parsers could read differently, two hosts, very long headers, TLS",
        (400, 422),
        "the parser, h11, refuses them or reads them in one way only",
        lying,
        bare=True,
    ),
    Attack(
        "a header sent twice: Origin, Authorization, Content-Type",
        (400,),
        "two programs could read two different values",
        twice,
    ),
    Attack(
        "invalid JSON, incomplete JSON, 10,000 nested levels, numbers of 5,000 digits",
        (400, 422),
        "the body is checked before anything else",
        malformed,
    ),
    Attack(
        'true, 1.5 or "12" as an image or a label; NaN and infinite seconds; too many at once',
        (422,),
        "no value is converted into another type",
        odd_values,
    ),
    Attack(
        "unknown fields, such as `by`",
        (422,),
        "an answer's author is the person who signed in",
        unknown_fields,
    ),
]


# In whose name ------------------------------------------------------------------------------------------------------


def replayed(t: Target) -> list[Reply]:
    body = answer(t.asked[0], 0, "Ada-key-0", tab="Ada")
    found = [t.post("/api/answers", body) for _ in range(3)]
    assert all(reply.json["accepted"] == [{"image": t.asked[0], "outcome": "answered"}] for reply in found)
    return found


def key_again(t: Target) -> list[Reply]:
    first, free = t.asked[0], t.asked[4]
    two = {**answer(first, 0, "Ada-key-0"), "answers": answer(first)["answers"] + answer(free)["answers"]}
    found = [
        t.post("/api/answers", answer(free, 0, "Ada-key-0")),
        t.post("/api/answers", answer(first, 1, "Ada-key-0")),
    ]
    found += [t.post("/api/answers", two), t.post("/api/corrections", answer(first, 1, "Ada-key-0"))]
    return [*found, t.post("/api/withdrawals", {"key": "Ada-key-0", "tab": "t", "image": first})]


def anothers_key(t: Target) -> list[Reply]:
    """Bob sends what Ada sent, under her key: it is an opinion of his own, and hers stays."""
    reply = t.post("/api/answers", answer(t.asked[0], 1, "Ada-key-0"), "Bob")
    assert reply.json["accepted"] == [{"image": t.asked[0], "outcome": "voted"}]
    return [reply]


def changes(t: Target) -> list[Reply]:
    """Bob has given a late opinion by now: that gives him nothing."""
    mine, hers = t.asked[2], t.asked[1]
    found = [t.post("/api/corrections", answer(hers, 1, "Bob-wants-1"), "Bob")]
    found += [
        t.post("/api/withdrawals", {"key": "Bob-wants-2", "tab": "t", "image": image}, "Bob") for image in t.asked[:2]
    ]
    found += [
        t.post("/api/corrections", answer(mine, 1, "Ada-wants-1")),
        t.post("/api/withdrawals", {"key": "Ada-wants-2", "tab": "t", "image": mine}),
    ]
    return found


def late_votes(t: Target) -> list[Reply]:
    """Change one's mind about another's answer, over and over."""
    found = [
        t.post("/api/answers", answer(t.asked[0], number % 2, f"again-and-{number}"), "Bob") for number in range(3)
    ]
    assert [reply.json["accepted"][0]["outcome"] for reply in found] == ["voted"] * 3
    shown = t.get("/api/history?n=500").json["answers"]
    assert {one["image"]: one["label"] for one in shown}[t.asked[0]] == 0
    return found


def anothers_image(t: Target) -> list[Reply]:
    """Answer what is before Bob: it counts as Ada's, and is told as hers."""
    reply = t.post("/api/answers", answer(t.asked[7], 1, "out-of-turn"))
    assert reply.json["accepted"] == [{"image": t.asked[7], "outcome": "answered"}]
    return [reply]


def not_asked(t: Target) -> list[Reply]:
    free = next(number for number in range(50) if number not in t.asked)
    images = (free, 10**6, 2**63 - 1)
    found = [t.post("/api/answers", answer(image, 0, "never-asked")) for image in images]
    found += [t.post("/api/corrections", answer(image, 0, "never-asked")) for image in (*images, t.asked[4])]
    return [*found, t.post("/api/answers", answer(t.asked[4], 2, "no-such-class"))]


def judging(t: Target) -> list[Reply]:
    found = [t.get("/api/team"), t.post("/api/next", {"tab": "j", "n": 5}), t.get("/api/project")]
    assert found[0].json["disputed"] == []
    assert all(task["votes"] == [] for task in found[1].json["tasks"])
    assert found[2].json["me"] == {"name": "Ada", "role": "annotator"}
    return found


NAMES = [
    Attack("the same request again", (200,), "the same key gets the same reply, and nothing is written", replayed),
    Attack(
        "the same key with other images, other labels, or another request",
        (409,),
        "a key belongs to one set of answers",
        key_again,
    ),
    Attack(
        "another person's key",
        (200,),
        "keys belong to one person: it is a vote of the sender, and the answer stays",
        anothers_key,
        writes=1,
    ),
    Attack(
        "votes on an image that another person has answered, again and again",
        (200,),
        "each is recorded under its author's name, and none changes the answer",
        late_votes,
        writes=3,
    ),
    Attack(
        "correcting or taking back another person's answer", (409,), "people change only their own answers", changes
    ),
    Attack(
        "an answer to an image that is reserved for somebody else",
        (200,),
        "the image is open: the answer counts, under its author's name",
        anothers_image,
        writes=1,
    ),
    Attack(
        "an answer to an image that was never asked, or with an unknown class",
        (409,),
        "only images that were asked about can be answered, with known classes",
        not_asked,
    ),
    Attack("an annotator requests what only adjudicators see", (200,), "disputes and votes are left out", judging),
]


# What is shown ------------------------------------------------------------------------------------------------------


def scripts(t: Target) -> list[Reply]:
    found = [t.get("/api/project"), t.get("/api/team"), t.get("/api/history")]
    assert [one["name"] for one in found[0].json["classes"]] == sorted(CLASSES)
    assert all(reply.header("content-type") == "application/json" for reply in found)
    return found


def echoes(t: Target) -> list[Reply]:
    found = [t.get("/<script>alert(1)</script>"), t.get("/api/why/<svg>"), t.post("/api/answers", {"<script>": 1})]
    assert all(reply.header("content-type") == "application/json" for reply in found)
    return found


def splitting(t: Target) -> list[Reply]:
    return [t.get("/static/x%0d%0aSet-Cookie:%20a=b"), t.get("/%0d%0aLocation:%20http://evil.example")]


def replaced(t: Target) -> list[Reply]:
    """Put something else in the place of photographs: an endless one, one that waits, one of 4 gigapixels."""
    with Record.open(t.root / "labels.db") as record:
        images = list(fold(State(), record.read()).waiting)[-4:]  # nobody has got them yet
    keys = dict(zip(images, StoredPool.open(t.root / "pool").keys(np.array(images)), strict=True))
    paths = [t.root / "images" / key for key in keys.values()]
    before = {path: path.read_bytes() for path in paths}
    try:
        for kind, path in zip(("endless", "another file", "pipe", "bomb"), paths, strict=True):
            path.unlink()
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "bomb":
                path.write_bytes(bomb(65_000, 65_000))
            else:
                path.symlink_to("/dev/zero" if kind == "endless" else "/etc/passwd")
        found = [t.get(f"/photos/{image}.jpg?edge={edge}") for image in keys for edge in (256, 2048)]
    finally:
        for path, content in before.items():  # another test copies the folder
            path.unlink()
            path.write_bytes(content)
    for reply, image in zip(found[::2], keys, strict=True):
        assert reply.header("x-original") in ("gone", "unreadable")
        assert reply.body == t.get(f"/images/{image}.png").body
    return found


def with_places(t: Target) -> list[Reply]:
    """Photographs with EXIF data, among them a place and a thumbnail."""
    found = [t.get(f"/photos/{t.asked[4]}.jpg?edge={edge}") for edge in (256, 2048)]
    for reply in found:
        assert reply.header("x-original") == "here"
        image = Image.open(io.BytesIO(reply.body))
        assert not image.getexif() and not set(image.info) - {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "dpi",
        }
        assert SECRET_PLACE not in reply.body
    return found


SHOWN = [
    Attack(
        "photographs that were replaced by links to other files, endless ones, pipes, decompression bombs",
        (200,),
        "they are read by a process with limits, and compared; the pool's picture is shown",
        replaced,
    ),
    Attack(
        "EXIF data of a photograph: where it was taken, its first thumbnail",
        (200,),
        "photographs are encoded again: nothing leaves but pixels",
        with_places,
    ),
    Attack(
        "scripts in the names of classes, files and folders",
        (200,),
        "JSON with nosniff; the page inserts text only, and its CSP allows no inline script",
        scripts,
    ),
    Attack("scripts in a URL or a field, to be returned in an error", (404, 422), "errors are JSON as well", echoes),
    Attack("line breaks in a URL, to inject headers", (404,), "no header contains parts of the request", splitting),
]

ATTACKS = {
    "Which token": TOKENS,
    "Which page": PAGES,
    "Which address": ADDRESSES,
    "Which body": BODIES,
    "Whose answers": NAMES,
    "What is shown": SHOWN,
}
ALL = [one for rows in ATTACKS.values() for one in rows]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    root = project(tmp_path_factory.mktemp("target"))
    target = Target(Served(root), root)
    target.people()
    with target.served:
        target.begin()
        yield target


def written(target: Target) -> int:
    with Record.open(target.root / "labels.db") as record:
        return len(record.read())


def check_headers(reply: Reply) -> None:
    for name, value in HEADERS.items():
        assert reply.header(name) == value, name
    assert reply.header("cache-control")
    assert not reply.header("access-control-allow-origin")
    assert "server" not in {name.lower() for name, _ in reply.headers}


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: attack.what[:60])
def test_an_attack_gets_what_the_table_says(target: Target, attack: Attack) -> None:
    before = written(target)
    replies = attack.tries(target)
    assert {reply.status for reply in replies} == set(attack.gets), [(r.status, r.body[:120]) for r in replies]
    for reply in replies:
        if not attack.bare:
            check_headers(reply)
        if reply.status >= 400 and reply.body and not attack.bare:
            assert set(reply.json["error"]) == {"rule", "got", "hint"}
    assert written(target) == before + attack.writes
    assert target.get("/api/status").status == 200, "it serves no more"


def test_the_table_is_the_documents() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == table(ATTACKS).strip(), (
        "run python tests/system/web/test_attacks.py"
    )


def test_the_cookie_is_for_this_server_alone(target: Target) -> None:
    reply = target.enter()
    check_headers(reply)
    told = reply.header("set-cookie")
    assert re.match(rf"asal-{target.served.port}=asal_\w+?_[\w-]+; ", told)
    assert "HttpOnly" in told and "SameSite=strict" in told and "Path=/" in told
    assert "Domain" not in told and "Secure" not in told
    assert target.tokens["Ada"] not in told, "the cookie has a token of its own"


def test_whatever_is_served_has_the_headers(target: Target) -> None:
    page = target.send("GET", "/")
    names = re.findall(rb'(?:src|href)="/?(static/[\w.]+)"', page.body)
    assert names
    for reply in (page, *(target.send("GET", f"/{name.decode()}") for name in names), target.send("GET", "/healthz")):
        assert reply.status == 200
        check_headers(reply)


def test_names_of_files_leave_as_json_alone(target: Target) -> None:
    replies = everywhere(target, target.signed("Judge")[:1])
    named = [reply for reply in replies if b"svg onload" in reply.body and b"alert(1)>" in reply.body]
    assert named
    assert all(reply.header("content-type") == "application/json" for reply in named)


def test_secrets_are_compared_in_constant_time() -> None:
    assert "hmac.compare_digest" in inspect.getsource(Annotators.who)


def secrets_of(target: Target) -> list[str]:
    cookies = [reply.header("set-cookie").partition(";")[0].partition("=")[2] for reply in target.replies]
    tokens = [*target.tokens.values(), target.served.token, *filter(None, cookies)]
    return [token.split("_", 2)[2] for token in tokens if token.count("_") > 1]


def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    root = project(tmp_path)
    target = Target(Served(root), root)
    target.people()
    with target.served:
        target.begin()
        for attack in (everywhere, wrong_secrets, odd_tokens, malformed, lying, left):
            attack(target, target.signed("Ada")) if attack is everywhere else attack(target)  # type: ignore[operator]
        secrets = secrets_of(target)
        assert len(secrets) > 6
        files = [path for path in root.rglob("*") if path.is_file()]  # as it runs, the write-ahead log too
        assert {"labels.db", "labels.db-wal"} <= {path.name for path in files}
        kept = {path.name: path.read_bytes() for path in files}
        said = target.served.stop()
    kept |= {f"{path.name}, afterwards": path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for secret in secrets:
        assert secret not in said
        assert [name for name, data in kept.items() if secret.encode() in data] == []


def test_beyond_the_loopback_nobody_is_served_without_a_token(target: Target, tmp_path: Path, asal: Command) -> None:
    root = shutil.copytree(target.root, tmp_path / "open")
    for path in root.glob("labels.db*"):
        path.unlink()
    asal("label", root, "--host", "0.0.0.0", "--no-browser").refused("--host 0.0.0.0", "asal annotator add")
    token = asal("annotator", "add", root, "Ada").out.strip()
    with Served(root, ["--host", "0.0.0.0"]) as served:
        assert served.token == "", "it printed a link with a token"
        everybody = Target(served, root, {"Ada": token})
        assert everybody.send("GET", "/api/status").status == 401
        assert everybody.get("/api/status").status == 200
        assert everybody.browser("/api/answers", answer(1), ("Origin", EVIL[0])).status == 403


def test_behind_a_proxy_the_cookie_is_secure_and_its_name_is_known(target: Target, tmp_path: Path) -> None:
    root = shutil.copytree(target.root, tmp_path / "proxied")
    with Served(root, ["--origin", "https://label.example.org"], port=free_port()) as served:
        proxied = Target(served, root, target.tokens)
        content = {"token": target.tokens["Ada"]}
        body = json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        origin = ("Origin", "https://label.example.org")
        entered = proxied.send("POST", "/api/enter", [*headers, origin], body, host="label.example.org")
        assert entered.status == 200
        assert "Secure" in entered.header("set-cookie")
        assert proxied.send("GET", "/", host="evil.example").status == 403
        assert (
            proxied.send("POST", "/api/enter", [*headers, ("Origin", EVIL[0])], body, host="label.example.org").status
            == 403
        )


if __name__ == "__main__":
    before, after = (
        DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[0],
        DOCUMENT.read_text(encoding="utf-8").split(END)[1],
    )
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table(ATTACKS)}\n{END}{after}", encoding="utf-8")
