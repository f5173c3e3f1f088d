"""HeroJobs beside its peers: the same work, on the same Redis, each with its own documented best settings."""
