# SPDX-License-Identifier: Apache-2.0
"""A local HTTP server that imitates the Cloud TPU API and Google Cloud's metadata server.

The metadata server reports project, zone and access token.
"""

import contextlib
import http.server
import json
import socket
import threading
import urllib.parse

_NODE = {
    "id": "tpu.projects.locations.nodes.get",
    "path": "v1/{+name}",
    "httpMethod": "GET",
    "parameterOrder": ["name"],
    "parameters": {
        "name": {
            "type": "string",
            "required": True,
            "location": "path",
            "pattern": "^projects/[^/]+/locations/[^/]+/nodes/[^/]+$",
        }
    },
    "response": {"$ref": "Node"},
}
TOKEN = "token"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class CloudApi:
    """The server, its responses and the requests that it received.

    Attributes:
      nodes: {"projects/P/locations/Z/nodes/N": dict of the node, or an HTTP error status}.
      requested: the paths of the requested nodes, in order.
      metadata: {path: value} of the metadata server; other paths are not found.
    """

    def __init__(self):
        self.nodes, self.requested = {}, []
        account = {"email": "reader@example.com", "scopes": [_SCOPE], "aliases": ["default"]}
        self.metadata = {
            "": "",
            "project/project-id": "machines-project",
            "instance/zone": "projects/1/zones/machines-zone",
            "instance/service-accounts/default/": account,
            "instance/service-accounts/reader@example.com/token": {"access_token": TOKEN, "expires_in": 3600},
        }
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                parts = urllib.parse.urlparse(self.path)
                status, value = api._look_up(parts.path, self.headers)
                data = (value if isinstance(value, str) else json.dumps(value)).encode("utf-8")
                self.send_response(status)
                self.send_header("Content-Type", "application/text" if isinstance(value, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Metadata-Flavor", "Google")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/" % self._server.server_address[1]

    def _look_up(self, path, headers):
        if path.startswith("/discovery"):
            return 200, self._discovery()
        if not path.startswith("/v1/"):
            path = path.replace("/computeMetadata/v1", "").lstrip("/")
            return (200, self.metadata[path]) if path in self.metadata else (404, "not here")
        if headers["Authorization"] != "Bearer " + TOKEN:
            return 401, {"error": {"code": 401, "message": "no token"}}
        name = path[len("/v1/") :]
        self.requested.append(name)
        found = self.nodes.get(name, 404)
        if isinstance(found, int):
            return found, {"error": {"code": found, "message": "refused with %d" % found}}
        return 200, found

    def _discovery(self):
        nodes = {"methods": {"get": _NODE}}
        return {
            "kind": "discovery#restDescription",
            "name": "tpu",
            "version": "v1",
            "rootUrl": self.url,
            "servicePath": "",
            "baseUrl": self.url,
            "batchPath": "batch",
            "auth": {"oauth2": {"scopes": {_SCOPE: {"description": ""}}}},
            "schemas": {"Node": {"id": "Node", "type": "object", "properties": {}}},
            "resources": {"projects": {"resources": {"locations": {"resources": {"nodes": nodes}}}}},
        }

    def environment(self):
        """Returns the environment variables that direct requests to this server."""
        address = self.url[len("http://") : -1]
        return {
            "TPU_API_DISCOVERY_URL": self.url + "discovery/{api}/{apiVersion}",
            "GCE_METADATA_IP": address,
            "GCE_METADATA_ROOT": address,
            "no_proxy": "127.0.0.1,localhost",
            "CLOUDSDK_CONFIG": "/nowhere",
        }

    @contextlib.contextmanager
    def serving(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def node(port, version, state="READY"):
    """Returns the API's description of a TPU whose worker is on this machine, a dict."""
    return {
        "state": state,
        "tensorflowVersion": version,
        "acceleratorType": "v3-8",
        "networkEndpoints": [{"ipAddress": "127.0.0.1", "port": port}],
    }


@contextlib.contextmanager
def listening():
    """Yields a local port on which a socket listens without responding."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def free_port():
    """Returns a local port on which nothing listens."""
    with contextlib.closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]
