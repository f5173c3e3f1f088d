"""Ask a model by jobs: a plain prompt, an answer that fits a schema, and one job's result as another one's data.

Without settings a small model on this machine answers (`herojobs ai install`); it is often wrong.
"""

from __future__ import annotations

import json

from herojobs import HeroJobs, Job, WatchDog

PARCEL = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "pieces": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["name", "pieces"],
}


def ask(hero: HeroJobs, prompt: str, **more: object) -> Job:
    params = json.dumps({"prompt": prompt, **more})
    return hero.wait(hero.submit(params, params_type="ai", circle_id="demo", timeout=60, log=True), timeout=90)


def main() -> None:
    with HeroJobs() as hero, WatchDog(workers=1):
        story = ask(hero, "Write one sentence about a parcel with two boxes.", max_tokens=60)
        print("a sentence:", story.result or story.error)
        parcel = ask(hero, f"Which parcel is it? {{{{ job:{story.ref} }}}}", schema=PARCEL)
        print("as JSON:", parcel.result or parcel.error)
        print("tokens:", parcel.usage.get("input_tokens"), "sent,", parcel.usage.get("output_tokens"), "received")


if __name__ == "__main__":
    main()
