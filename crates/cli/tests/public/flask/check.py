"""Starts the server as the image does and asks it."""

import os
import subprocess
import time
import urllib.request

assert os.getuid() == 10001, os.getuid()
assert not os.path.exists("Dockerfile")
server = subprocess.Popen(["gunicorn", "app:app", "--bind=127.0.0.1:8000"])
try:
    while server.poll() is None:
        try:
            print(urllib.request.urlopen("http://127.0.0.1:8000/health").read().decode())
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("the server ended")
finally:
    server.terminate()
    server.wait()
