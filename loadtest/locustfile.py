"""For Locust itself, with its web page: `locust -f loadtest/locustfile.py --host http://HOST:PORT`."""

import pathlib
import sys

# Locust puts this folder on the path, not the one above.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from loadtest.run import install

WebSocketUser, LineUser = install()
