"""The Celery app: `celery -A workers worker|beat|flower`. Importing it connects to nothing."""

from __future__ import annotations

from celery import Celery

from orderdrain.errors import SettingsError
from orderdrain.settings import load
from workers.config import configuration

try:
    settings = load()
except SettingsError as error:
    # One line that names the setting, for every command that loads the app, instead of Celery's stack trace.
    raise SystemExit(f"settings: {error}") from None

app = Celery("orderdrain", include=["tasks", "workers.runtime"])
app.conf.update(configuration(settings))
