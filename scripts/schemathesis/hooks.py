"""Lets generated requests reach what is behind the front door: they are signed in, and half of them name things that
exist. What is chosen depends on the generated value alone, so a failing request can be repeated."""

import os
import uuid
import zlib

import requests
import schemathesis

URL = os.environ["FOLKMOOT_URL"]
PASSWORD = "correct horse battery"


def call(method, path, token=None, expected=(200, 201, 204), **kwargs):
    headers = kwargs.pop("headers", {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    response = requests.request(method, URL + path, headers=headers, timeout=20, **kwargs)
    if response.status_code not in expected:
        raise RuntimeError(f"{method} {path}: expected {expected}, got {response.status_code}: {response.text}")
    return response.json() if response.content else None


def register(handle):
    return call("POST", "/v1/auth/register", json={"handle": handle, "password": PASSWORD})


def login(handle):
    return call("POST", "/v1/auth/login", json={"handle": handle, "password": PASSWORD})["access_token"]


def populate():
    """The first account is the owner's. Several of everything: generated requests leave, archive and delete."""
    owner = register("owner")
    token = owner["access_token"]
    users = [register(f"user-{n}")["user"]["id"] for n in range(6)]
    channels, files = [], []
    for n in range(10):
        channel = call(
            "POST", "/v1/channels", token,
            json={"kind": "private" if n % 3 == 0 else "public", "name": f"room {n}", "members": users[: n % 4]},
        )["id"]
        channels.append(channel)
        files.append(
            call("POST", f"/v1/files?channel={channel}&name=note.txt", token, data=b"hello " * 100)["id"]
        )
        for text in ("first", "second", "third", "fourth"):
            call(
                "POST", f"/v1/channels/{channel}/messages", token,
                json={"text": text}, headers={"Idempotency-Key": str(uuid.uuid4())},
            )
    channels.append(call("POST", "/v1/dms", token, json={"users": users[:1]})["id"])
    # Leaving and archiving would put the others out of reach: those have channels of their own.
    spare = [
        call("POST", "/v1/channels", token, json={"kind": kind, "name": f"spare {kind} {n}"})["id"]
        for kind in ("public", "private")
        for n in range(5)
    ]
    return {"users": users, "channels": channels, "files": files, "spare": spare}


KNOWN = populate()
# Any text may be generated as an emoji, which most are not.
EMOJI = ["👍", "🎉", "❤️", "👩🏽‍💻", "½"]


# Longer than a login costs, shorter than an access token lives.
@schemathesis.auth(refresh_interval=240).skip_for(path_regex="^/v1/auth/")
class Owner:
    def get(self, case, context):
        return login("owner")

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


# These end sessions and change passwords: each request gets an account of its own.
@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/v1/auth/(logout|password|sessions)")
class Throwaway:
    def get(self, case, context):
        return register(f"t-{uuid.uuid4().hex[:20]}")

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data['access_token']}"
        if "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = real(case.path_parameters["id"], [data["session"]])


def is_uuid(value):
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def chosen(value):
    """Every second value, always the same ones; and a number that goes with it."""
    choice = zlib.crc32(repr(value).encode())
    return choice & 1 == 1, choice >> 1


def real(value, known):
    """A known id instead of every second generated one."""
    take, number = chosen(value)
    return known[number % len(known)] if is_uuid(value) and take else value


def known_for(operation, name):
    path = operation.path
    if name == "user":
        return KNOWN["users"]
    if path.endswith("/leave") or (path == "/v1/channels/{channel}" and operation.method.upper() == "PATCH"):
        return KNOWN["spare"]
    for kind in ("users", "channels", "files"):
        if path.startswith(f"/v1/{kind}/"):
            return KNOWN[kind]
    return None


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters:
        return path_parameters
    mapped = dict(path_parameters)
    for name, value in path_parameters.items():
        known = known_for(context.operation, name)
        if name == "seq" and str(value).isdecimal():
            # Where populate() put its messages.
            take, number = chosen(value)
            mapped[name] = type(value)(3 + number % 4) if take else value
        elif name == "emoji":
            take, number = chosen(value)
            mapped[name] = EMOJI[number % len(EMOJI)] if take else value
        elif known is not None:
            mapped[name] = real(value, known)
    return mapped


@schemathesis.hook
def map_query(context, query):
    if not query or "channel" not in query:
        return query
    return {**query, "channel": real(query["channel"], KNOWN["channels"])}


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict) or not chosen(sorted(body.items(), key=repr))[0]:
        return body
    mapped = dict(body)
    for field in ("users", "members", "files"):
        if isinstance(body.get(field), list):
            known = KNOWN["files" if field == "files" else "users"]
            mapped[field] = [known[chosen(item)[1] % len(known)] for item in body[field]]
    path = context.operation.path
    if path == "/v1/auth/login" and isinstance(body.get("handle"), str):
        mapped |= {"handle": "owner", "password": PASSWORD}
    if path == "/v1/channels" and isinstance(body.get("name"), str):
        mapped |= {"name": f"made {chosen(body['name'])[1]}", "kind": "public"}
    if path == "/v1/auth/password" and isinstance(body.get("current"), str):
        mapped["current"] = PASSWORD
    return mapped
