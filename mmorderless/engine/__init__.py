"""Extensions of mmengine's Runner: hooks, schedules, parameter groups, seeding."""

from mmorderless.engine import hooks, parameter_groups, schedules

__all__ = ["hooks", "parameter_groups", "schedules"]
