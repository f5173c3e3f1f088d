"""Telling others what becomes of jobs: webhooks, and functions of Python modules; see docs/webhooks.md.

A process of its own does it (`python -m herojobs.hooks`, started by a WatchDog), so that no job waits for a receiver.
"""
