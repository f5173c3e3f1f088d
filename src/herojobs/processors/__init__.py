"""Processors: one for each kind of job, text in and result out."""
