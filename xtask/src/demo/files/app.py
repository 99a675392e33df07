"""The demo's application: says which host answered and what reached it."""

import json
import os

HOST = os.environ["DEMO_HOST"]


def app(environ, start_response):
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    answer = {
        "host": HOST,
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "headers": headers,
    }
    body = (json.dumps(answer) + "\n").encode()
    start_response(
        "200 OK",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]
