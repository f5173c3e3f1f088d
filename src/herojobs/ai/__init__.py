"""AI jobs: prompts, models, budgets, tools, the conversation with a model (docs/ai.md).

`conversation`, `providers` and `faults` import pydantic-ai, which takes seconds: nobody imports them but the worker,
at its first AI job.
"""
