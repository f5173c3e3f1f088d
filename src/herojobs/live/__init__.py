"""Queues, leases and events in Redis. docs/redis.md tells keys, fields and scripts.

A call is a value that says which script to run on which queue (`Call[T]`, made by the functions of `calls`); a
transport of `redis` runs it, hundreds of one queue's jobs at a time. `connect` opens the transport that the settings
ask for, `embedded` looks after the server that a home has of its own.
"""
