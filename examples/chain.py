"""Three jobs, one after another; the last one sees what the one before it returned.

python examples/chain.py
"""

from herojobs import HeroJobs, Job, WatchDog

with WatchDog(workers=1), HeroJobs() as hero:
    jobs = hero.chain(
        [
            Job(params="let price = 40; price", params_type="rhaiscript", circle_id="demo", topic="prices"),
            Job(params="parse_int(parents()[0].result) + 2", params_type="rhaiscript", circle_id="demo", topic="fees"),
            Job(params='"in all: " + parents()[0].result', params_type="rhaiscript", circle_id="demo", topic="bills"),
        ]
    )
    print(hero.wait(jobs[-1], timeout=30).result)
