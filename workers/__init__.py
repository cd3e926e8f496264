"""PROCESSES: how a worker is put together, configured and watched. `celery -A workers worker|beat|flower` finds the
app in workers/celery.py."""
