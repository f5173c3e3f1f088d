"""A job that submits others, as many as it finds work for, and one that comes after all of them.

python examples/fan_out.py
"""

from herojobs import HeroJobs, WatchDog

SPLIT = """
let parts = [];
for n in 1..=5 {
    parts.push(submit("rhaiscript", `${n} * ${n}`, #{topic: "parts"}));
}
submit("rhaiscript", "let sum = 0; for part in parents() { sum += parse_int(part.result); } sum", #{after: parts})
"""

with WatchDog(workers=2), HeroJobs() as hero:
    split = hero.submit(SPLIT, params_type="rhaiscript", circle_id="demo", topic="split")
    last = hero.wait(split, timeout=30).result
    print("the sum of the squares:", hero.wait(last, timeout=30).result)
    print("jobs in the flow:", len(hero.flow(last)))
