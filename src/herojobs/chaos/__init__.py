"""Faults on real processes: does a HeroJobs keep its promises while its parts are killed, stopped, cut off and wiped?

`herojobs chaos` runs it. Producers, WatchDogs, their workers and a Redis behind a proxy are processes of their own.
Jobs write their starts and finishes to an append-only file; what was acknowledged is in another; ends are read from
OurDB. `verdict` puts the three together.
"""
