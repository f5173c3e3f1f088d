"""What a job costs as history, topics and queue grow."""
