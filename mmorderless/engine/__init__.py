"""Extensions of mmengine's Runner: hooks, schedules, seeding."""

from mmorderless.engine import hooks, schedules

__all__ = ["hooks", "schedules"]
