"""Benchmarks keep what they measured, go on with it, and write it where it belongs."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import page
from benchmarks.charts import Axis, bars, curves
from benchmarks.peers.environments import constants, names
from benchmarks.peers.results import Results, Taken

SETTINGS = {"jobs": 10, "rounds": 2}


def taken(number: int, peer: str, rate: float, fault: str = "") -> Taken:
    return Taken(number, "sync", peer, {"drain (jobs/s)": rate} if rate else {}, fault, 2.5)


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    first = Results(SETTINGS, False, file)
    first.add(taken(0, "herojobs", 5.0))
    first.add(taken(0, "huey", 0, "sync: it died"))

    second = Results(SETTINGS, True, file)
    assert second.has(0, "sync", "herojobs")
    assert not second.has(1, "sync", "herojobs")
    assert second.lasts("sync", "huey", 1.0) == 2.5
    second.add(taken(1, "herojobs", 7.0))
    assert second.samples() == {"drain (jobs/s)": {"herojobs": [5.0, 7.0]}}
    assert second.faults() == {"huey": ["round 1, sync: it died; not measured"]}


def test_a_run_of_other_settings_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    Results(SETTINGS, False, file).add(taken(0, "herojobs", 5.0))
    assert not Results(SETTINGS, False, file).taken
    other = Results({"jobs": 20, "rounds": 2}, True, file)
    assert not other.taken
    assert other.lasts("sync", "herojobs", 1.0) == 1.0  # of more jobs nothing is known


def test_a_part_of_the_page_is_replaced_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("# Title\n\nbefore\n\n<!-- a: made by a benchmark -->\nold\n<!-- a: end -->\n\nafter\n")
    page.put("a", ["new"], file)
    page.put("b", ["more"], file)
    page.put("a", ["newest"], file)
    text = file.read_text()
    assert "old" not in text
    assert [line for line in text.splitlines() if line and not line.startswith("<!--")] == [
        *("# Title", "before", "newest", "after", "more")
    ]


def test_charts_are_well_formed_and_tell_each_curve_apart() -> None:
    lines = {f"step <{n}>": [1.0 + n, 20.0] for n in range(12)}
    drawn = ElementTree.fromstring(curves("Growth & cost", Axis("jobs", ["1", "10"]), "µs", lines))
    space = {"svg": "http://www.w3.org/2000/svg"}
    looks = [(line.get("class"), line.get("stroke-dasharray")) for line in drawn.findall("svg:polyline", space)]
    assert len(set(looks)) == len(lines)
    texts = [text.text for text in drawn.findall("svg:text", space)]
    assert {"Growth & cost", "jobs", "µs", "1", "10", "step <11>"} <= set(texts)
    labels = sorted(float(t.get("y", 0)) for t in drawn.findall("svg:text", space) if (t.text or "").startswith("step"))
    assert all(below - above > 10 for above, below in itertools.pairwise(labels))

    chart = ElementTree.fromstring(bars({"rate": [("herojobs", 10.0), ("huey", 5.0)]}, "herojobs"))
    widths = [float(each.get("width", 0)) for each in chart.findall("svg:rect", space)]
    assert widths == [420.0, 210.0]


def test_every_peer_says_how_it_is_run_and_at_which_versions() -> None:
    assert names()[0] == "herojobs"
    for name in names():
        about = constants(name)
        packages = about["PACKAGES"]
        assert isinstance(packages, list)
        assert all("==" in package for package in packages)
        assert len(str(about["about"])) > 50
