"""Schedules: jobs that are made again and again, at times that a cron expression or an interval tells."""

from herojobs.schedules.book import Missed, Schedule, ScheduleBook
from herojobs.schedules.ticker import Ticker
from herojobs.schedules.timetable import Timetable

__all__ = ["Missed", "Schedule", "ScheduleBook", "Ticker", "Timetable"]
