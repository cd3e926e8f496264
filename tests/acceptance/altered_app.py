"""The product's Celery app with the settings in ALTERED_SETTINGS (JSON) laid over it: no test waits for an hour."""

from __future__ import annotations

import json
import os

from workers.celery import app

app.conf.update(json.loads(os.environ["ALTERED_SETTINGS"]))
