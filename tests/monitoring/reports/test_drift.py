import json
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from serving.errors import ModelFailed
from serving.monitoring.reports.drift import (
    ReportError,
    _compare,
    comparable,
    farthest,
    harmless,
    make,
)
from serving.monitoring.reports.job import ReportJob, write_job
from serving.monitoring.reports.runner import ReportRunner

pytestmark = pytest.mark.timeout(240)  # the libraries take long to import, and may


@pytest.fixture
def make_report(entry, tmp_path) -> Callable[..., bytes]:
    """Makes a report in this process: each of its own would import the libraries again."""

    def report(columns: dict[str, np.ndarray], wanted: str) -> bytes:
        reference = str(entry.directory / "reference.parquet")
        config = entry.config.model_dump_json()
        folder = tmp_path / "job"
        folder.mkdir()
        job = ReportJob("loans version 1", config, reference, tuple(columns), wanted)
        write_job(folder, job, columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in the process that does nothing else
            return make(folder)

    return report


def test_html_is_complete_and_names_what_is_left_out(make_report, columns):
    columns["income"] = columns["income"].copy()
    columns["income"][:3] = [np.inf, -np.inf, np.nan]
    page = make_report(columns, "html").decode()
    assert "loans version 1: 100 recent rows against 2000 of the reference." in page
    assert "Left out: debt (no values in the recent rows)." in page
    assert "income" in page
    assert not re.search(r'<(script|link|img)[^>]*(src|href)="?https?:', page)


class Scripts(HTMLParser):
    """What a browser takes for scripts in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "script":
            self.found.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.cdata_elem == "script":
            self.found[-1] += data


def report_page(name: str, category: str) -> str:
    rng = np.random.default_rng(0)
    words = np.array([category, "b"])
    pairs = {
        name: (rng.normal(size=60), rng.normal(size=60)),
        "word": (rng.choice(words, 60), rng.choice(words, 60)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page: str = _compare(pairs).get_html_str(as_iframe=False)
    return page


HOSTILE = [
    "</script><script>alert(1)</script>", "</SCRIPT ><img src=x onerror=alert(1)>", "<!--<script>",
    "<body>", ";\n</script>", '"};\n</script>', "a & b < c > d \u2028",
]  # fmt: skip


def test_no_name_becomes_a_script():
    scripts = len(Scripts(report_page("income", "a")).found)
    for name in HOSTILE:
        page = report_page(name, name)
        safe = harmless(page)
        found = Scripts(safe)
        assert len(found.found) == scripts
        data = re.findall(r" = (\{.*\});\n", found.found[0])
        assert len(data) == 2
        assert not set("<>&") & set("".join(data))
        assert json.dumps(name)[1:-1] in json.dumps(json.loads(data[0]))


def test_a_page_of_another_layout_is_not_passed_on():
    with pytest.raises(ReportError, match="format json"):
        harmless("<html><script>\n var x = {};\n</script></html>")


def test_json_states_its_statistics(make_report, columns):
    report = json.loads(make_report(columns, "json"))
    assert report["statistics"]["num_method"] == "wasserstein"
    assert report["left_out"] == {"debt": "no values in the recent rows"}
    values = {
        metric["config"]["column"]: (metric["config"]["method"], metric["value"])
        for metric in report["evidently"]["metrics"]
        if "column" in metric["config"]
    }
    assert values["income"][0] == "wasserstein"
    assert values["income"][1] == pytest.approx(1.0, abs=0.3)
    assert values["purpose"][0] == "jensenshannon"
    assert values["purpose"][1] < 0.2


@pytest.mark.long  # `test_monitor_process.py` has one made over the channel, by such a process
async def test_a_process_makes_it(entry, columns):
    reply = await ReportRunner().drift(entry, columns, "html")
    assert reply.content_type == "text/html; charset=utf-8"
    assert b"loans version 1: 100 recent rows against 2000 of the reference." in reply.body


async def test_nothing_to_compare_is_one_sentence(entry, columns):
    nothing = {name: np.full(100, np.nan) for name in ("income", "debt")}
    with pytest.raises(ModelFailed, match="no column can be compared"):
        await ReportRunner().drift(entry, nothing, "json")


def test_columns_that_say_nothing_are_named():
    some = np.array([1.0, 2.0, np.inf])
    reference = {
        "kept": some, "constant": np.ones(3), "moved": np.ones(3), "empty": np.array([]),
        "absent": some, "word": np.array(["a", "a"]), "words": np.array(["a", "b"]),
    }  # fmt: skip
    current = {
        "kept": some, "constant": np.ones(2), "moved": np.zeros(2), "empty": some,
        "word": np.array(["a"]), "words": np.array(["b"]),
    }  # fmt: skip
    kept, left_out = comparable(reference, current)
    assert list(kept) == ["kept", "moved", "words"]
    assert np.isnan(kept["kept"][0][2])
    assert left_out == {
        "constant": "constant",
        "empty": "no values in the reference",
        "absent": "not among the recent rows",
        "word": "constant",
    }


def test_the_columns_that_moved_most_are_kept():
    still, moved = np.arange(50.0), np.arange(50.0) + 30
    pairs = {f"c{number}": (still, moved if number % 2 else still + 0.1) for number in range(100)}
    pairs["word"] = (np.array(["a", "b"]), np.array(["c"]))
    kept, left_out = farthest(pairs)
    assert len(kept) == 64
    assert {f"c{number}" for number in range(1, 100, 2)} | {"word"} <= set(kept)
    assert left_out["c98"] == "not among the 64 columns that moved most"
    assert len(left_out) == 37
