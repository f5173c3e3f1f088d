"""What a job may still use: requests, tokens and cost, its own and its circle's of the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from herojobs.ai.failures import AIFailure
from herojobs.ai.prompt import Prompt
from herojobs.ai_settings import AISettings, Daily, of_circle
from herojobs.live.usage import Used

CHARACTERS_A_TOKEN = 4
"""How many characters a token has about, where nobody has counted."""

LEAST_ANSWER = 16
"""Tokens without which an answer isn't worth its request."""


def estimated(characters: int) -> int:
    """Return how many tokens a text of this length has about."""
    return -(-characters // CHARACTERS_A_TOKEN)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model's tokens cost, in millionths of a USD each; that is, in USD a million."""

    input: float
    output: float


class Budget:
    """The limits of one job, those of its params and the settings together.

    Args:
        prompt: what the job asks for.
        ai: the settings; the lower limit counts.
        circle: the job's circle, its name fixed.
    """

    def __init__(self, prompt: Prompt, ai: AISettings, circle: str) -> None:
        self.max_steps = min(prompt.max_steps, ai.max_steps)
        self.max_tokens = _lower(prompt.max_total_tokens, ai.max_total_tokens)
        self.max_cost = _lower(prompt.max_cost, ai.max_cost)
        self.daily = of_circle(ai.daily, circle) or Daily()
        self._circle = circle

    @property
    def counts_days(self) -> bool:
        """Whether the circle has limits for a day."""
        return bool(self.daily.tokens or self.daily.cost)

    def answer(self, wanted: int, used: Used, today: Used, rate: Rate | None, sent: int) -> int:
        """Return the most tokens that the next answer may have.

        Args:
            wanted: what the job or the model's settings allow.
            used: what the job has used so far.
            today: what its circle has used today, the job's own included.
            rate: what the model's tokens cost, None = unknown.
            sent: tokens that the next request sends, about.

        Raises:
            AIFailure: there is nothing left; the error names the limit.
        """
        if used.requests >= self.max_steps:
            raise _over(f"the job has made its {self.max_steps} requests (max_steps) and the model still isn't done")
        left = [wanted]
        for limit, spent, what in (
            (self.max_tokens, used.tokens, "the job's {:,} tokens (max_total_tokens)"),
            (self.daily.tokens, today.tokens, f"the {{:,}} tokens that circle {self._circle} has a day (ai.daily)"),
        ):
            if limit:
                left.append(limit - spent - sent)
                if left[-1] < min(LEAST_ANSWER, wanted):
                    raise _over(f"{what.format(limit)} are used up: {spent:,} used, about {sent:,} would be sent now")
        for cost, spent_cost, what in (
            (self.max_cost, used.cost, "the job's {:g} USD (max_cost)"),
            (self.daily.cost, today.cost, f"the {{:g}} USD that circle {self._circle} has a day (ai.daily)"),
        ):
            if not cost:
                continue
            if rate is None:
                unknown = "nobody knows what the model costs; set its price in the settings"
                raise AIFailure("budget", f"{what.format(cost)} can't be kept: {unknown}", elsewhere=True)
            rest = cost * 1e6 - spent_cost - sent * rate.input
            if rate.output:
                left.append(int(rest / rate.output))
            if rest < 0 or left[-1] < min(LEAST_ANSWER, wanted):
                raise _over(f"{what.format(cost)} are used up: {spent_cost / 1e6:g} USD used")
        return min(left)


N = TypeVar("N", int, float)


def _lower(one: N, other: N) -> N:
    """Return the lower of two limits, 0 being none."""
    return min(one, other) if one and other else max(one, other)


def _over(text: str) -> AIFailure:
    return AIFailure("budget", text)
