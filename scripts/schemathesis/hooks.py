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
        for text in ("first", "second"):
            call(
                "POST", f"/v1/channels/{channel}/messages", token,
                json={"text": text}, headers={"Idempotency-Key": str(uuid.uuid4())},
            )
    channels.append(call("POST", "/v1/dms", token, json={"users": users[:1]})["id"])
    return {"users": users, "channels": channels, "files": files}


KNOWN = populate()


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
        return register(f"t-{uuid.uuid4().hex[:20]}")["access_token"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


def is_uuid(value):
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def real(value, known):
    """A known id instead of every second generated one."""
    if not is_uuid(value):
        return value
    choice = zlib.crc32(value.encode())
    return known[(choice >> 1) % len(known)] if choice & 1 else value


def known_for(path):
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
        if name in ("user", "user_id"):
            mapped[name] = real(value, KNOWN["users"])
        elif name == "seq" and isinstance(value, int) and value > 8:
            mapped[name] = value % 8 if value % 2 else value
        elif (known := known_for(context.operation.path)) is not None:
            mapped[name] = real(value, known)
    return mapped


@schemathesis.hook
def map_query(context, query):
    if not query or "channel" not in query:
        return query
    return {**query, "channel": real(query["channel"], KNOWN["channels"])}


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    mapped = dict(body)
    for field in ("users", "members", "files"):
        if isinstance(body.get(field), list):
            known = KNOWN["files" if field == "files" else "users"]
            mapped[field] = [real(item, known) for item in body[field]]
    return mapped
