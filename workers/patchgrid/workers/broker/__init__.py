"""Wake-ups through Redis and Celery."""
