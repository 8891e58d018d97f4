"""nginx before the app, as hosting.md has it: the app below /studio, by HTTPS too, and pages with a frame."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PATH = "/studio"
_CONFIGURATION = """
user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {servers}
}}
"""
_SERVER = """
server {{
    listen 127.0.0.1:{port} {ssl}; client_max_body_size {limit};
    location {path}/ {{
        proxy_pass http://127.0.0.1:{app_port}; proxy_http_version 1.1; proxy_read_timeout 1d;
        proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    }}
    location = /frame {{
        default_type text/html;
        return 200 '<iframe src="$arg_of" width=1200 height=900></iframe>';
    }}
}}
"""


@contextmanager
def running_nginx(folder: Path, app_port: int, limits: dict[int, str], https: int) -> Iterator[None]:
    """Run nginx before the app at `app_port`, at each port of `limits` with that limit of a body; `https` is one.

    /frame?of=ADDRESS is a page with that address in a frame.
    """
    key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    subprocess.run([*key, *files], check=True, capture_output=True)
    servers = "".join(
        _SERVER.format(port=port, limit=limit, app_port=app_port, path=PATH, ssl="ssl" * (port == https))
        for port, limit in limits.items()
    )
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, servers=servers))
    with subprocess.Popen([str(NGINX), "-c", str(file)]) as process:
        try:
            deadline = time.monotonic() + 30
            while not all(map(_listens, limits)):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
