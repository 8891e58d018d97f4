"""An OpenID Connect provider that runs on this machine, the package oidc-provider-mock.

It knows the clients that register, and lets everybody in by name. To who calls himself MISDIRECTED it gives a token
that is meant for another application.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import requests

MISDIRECTED = "misdirected"
_USER = json.dumps({"sub": MISDIRECTED, "aud": "another-application"})


@contextmanager
def running_provider(port: int) -> Iterator[str]:
    """Start the provider, wait until it answers, end it afterwards; gives its address."""
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), "-r", "true"]
    address = f"http://localhost:{port}"
    with subprocess.Popen([*command, "--user-claims", _USER], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not _answers(address):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


def register(provider: str, redirect_uri: str) -> dict[str, str]:
    """Register a client; return its "client_id" and "client_secret"."""
    answer = requests.post(f"{provider}/oauth2/clients", json={"redirect_uris": [redirect_uri]}, timeout=30)
    answer.raise_for_status()
    return {name: answer.json()[name] for name in ("client_id", "client_secret")}


def secrets(provider: str, redirect_uri: str, cookie_secret: str, client: dict[str, str]) -> str:
    """Return a secrets.toml."""
    values = {
        "redirect_uri": redirect_uri,
        "cookie_secret": cookie_secret,
        "server_metadata_url": f"{provider}/.well-known/openid-configuration",
        **client,
    }
    return "[auth]\n" + "".join(f'{name} = "{value}"\n' for name, value in values.items())
