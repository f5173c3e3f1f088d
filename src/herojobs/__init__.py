"""HeroJobs."""
