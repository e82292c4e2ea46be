"""A report is one page that needs nothing else, and says what there is to bear in mind."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ptycho_plugin.dose import Grid
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.view.region_pictures import figure_of_correlation, figure_of_region, figure_of_repeats
from ptycho_plugin.view.report import LOST, NO_GROUND, RegionSection, report_html, write_report

SIDE, RINGS = 40, 21
PNG = b"\x89PNG\r\n"


def told(half_period, *, crosses=True, resolved=True, warning=None):
    return {
        "half_period": half_period,
        "sigma": 0.7e-9,
        "threshold": "half_bit",
        "crosses": crosses,
        "resolved": resolved,
        "warning": warning,
    }


@pytest.fixture
def section():
    rng = np.random.default_rng(0)
    phases = rng.normal(-0.1, 0.03, (3, SIDE, SIDE)).astype(np.float32)
    curve = np.linspace(1, 0, RINGS)
    arrays = {
        "phase": phases.mean(axis=0),
        "standard_error": np.abs(rng.normal(size=(SIDE, SIDE))),
        "restored": phases.mean(axis=0),
        "phases": phases,
        "drift": rng.normal(scale=1e-8, size=(3, 2)),
        "frequency": np.linspace(0, 0.5 / 13.5e-9, RINGS),
        "threshold": np.full(RINGS, 0.2),
        "correlation_single": curve,
        "correlation_averaged": curve,
        "correlation_restored": curve,
    }
    facts = {
        "object_pixel": 13.5e-9,
        "repeats": [1, 2, 4],
        "ground_is_seen": True,
        "resolution": {
            "single": told(38.4e-9),
            "averaged": told(31.2e-9),
            "restored": told(13.5e-9, crosses=False, warning="both were restored alike"),
        },
        "maximum_shift": {
            "rad": 0.4125,
            "spread_rad": 0.036,
            "percentile_99_9_rad": 0.301,
            "percentile_spread_rad": 0.004,
        },
        "provenance": {"options": {"threshold": "half_bit"}, "source": {"runs": ["<b>uid</b>"]}},
    }
    return RegionSection(name="film <1>, region A", arrays=arrays, facts=facts)


class Outside(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self):
        super().__init__()
        self.images, self.fetched = [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data"):
                if tag == "img" and value.startswith("data:image/png;base64,"):
                    self.images.append(base64.b64decode(value.partition(",")[2]))
                elif not value.startswith("#"):
                    self.fetched.append(value)
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)


def parsed(page):
    found = Outside()
    found.feed(page)
    return found


def test_the_page_needs_nothing_else(section):
    found = parsed(report_html([section], "Film"))
    assert found.fetched == []
    assert len(found.images) == 4
    assert all(image.startswith(PNG) for image in found.images)


def test_the_table_has_each_region_with_its_figures(section):
    other = replace(section, name="region B", facts=section.facts | {"repeats": [5, 6, 7]})
    page = report_html([section, other], "Film")
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert cells[:8] == [
        "film &lt;1&gt;, region A",
        "3",
        "38.4 ± 0.7 nm",
        "31.2 ± 0.7 nm",
        "13.5 nm or better",
        "0.412 ± 0.036 rad",
        "0.301 ± 0.004 rad",
        "none",
    ]
    assert cells[8:10] == ["region B", "3"]
    assert len(parsed(page).images) == 8


def test_what_flatters_is_told(section):
    blind = replace(section, facts=section.facts | {"ground_is_seen": False})
    page = report_html([blind], "Film")
    assert NO_GROUND in page
    assert "the same, restored: both were restored alike." in page
    assert NO_GROUND not in report_html([section], "Film")


def test_where_nothing_is_resolved_no_figure_is_told(section):
    nothing = {"single": told(149e-9, resolved=False), "averaged": told(31.2e-9)}
    page = report_html([replace(section, facts=section.facts | {"resolution": nothing})], "Film")
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells[2:5] == ["none", "31.2 ± 0.7 nm", "none"]
    assert "149" not in re.sub("<img[^>]*>", "", page)


def test_names_and_provenance_are_text_and_no_markup(section):
    page = report_html([section], "<script>alert(1)</script>")
    assert "<script>" not in page
    assert "<b>uid</b>" not in page
    assert "&lt;b&gt;uid&lt;/b&gt;" in page


def test_dose_and_errors_are_shown_where_they_are_known(section):
    dose = DoseMap(
        dose=np.full((20, 20), 27_500.0),
        grid=Grid((20, 20), 1e-7, (-1e-6, -1e-6)),
        points=np.zeros((1, 2)),
        peak=27_500.0,
        material="PMMA",
        electron_range=0.5e-6,
        budget=None,
    )
    errors = {"repeat 1": (np.geomspace(10, 1, 30), 20)}
    page = report_html([replace(section, dose=dose, errors=errors)], "Film")
    assert "27.5 kGy" in page
    assert len(parsed(page).images) == 6


def test_a_page_and_its_pictures_are_written(section, tmp_path):
    write_report([section], "Film", tmp_path / "film.html")
    assert (tmp_path / "film.html").read_text("utf-8").startswith("<!doctype html>")
    names = {path.name for path in (tmp_path / "film").iterdir()}
    assert names == {f"film-1-region-A-{name}.png" for name in ("maps", "repeats", "correlation", "phases")}
    with pytest.raises(InputError):
        write_report([section], "Film", tmp_path / "nowhere" / "film.html")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("film", "name it film.html$"), ("taken.html", "is a file: name another page"), ("", "is a folder")],
)
def test_a_page_whose_pictures_would_have_no_folder_is_refused_before_it_is_written(
    section, tmp_path, name, sentence
):
    (tmp_path / "taken").write_text("other")
    with pytest.raises(InputError, match=sentence):
        write_report([section], "Film", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(("draw", "colours"), [(figure_of_region, 3), (figure_of_repeats, 1)])
def test_every_map_has_a_scale_bar_and_colours_have_a_bar(section, draw, colours):
    """Of 40 pixels of 13.5 nm: 0.1 um is the largest round length within 30 %."""
    maps = [axes for axes in draw(section.arrays, section.facts).axes if axes.images]
    assert len(maps) == 3
    for axes in maps:
        (bar,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
        assert bar.get_width() == pytest.approx(0.1e-6 / 13.5e-9)
        assert [text.get_text() for text in axes.texts] == ["0.1 µm"]
    images = [axes.images[0] for axes in maps]
    labels = [image.colorbar.ax.get_ylabel() for image in images if image.colorbar]
    assert labels == ["phase (rad)"] * colours
    assert len({image.get_clim() for image in images}) <= colours, "maps without a bar of their own share one"


def test_all_thresholds_are_drawn_and_the_one_that_is_told_by_is_darkest(section):
    """As the kept one, which is of the ring's pixels too: a region of an earlier version shows the same."""
    (axes,) = figure_of_correlation(section.arrays, section.facts).axes
    found = {line.get_label(): line for line in axes.lines}
    half, one, seventh = (found[name] for name in ("half-bit threshold", "one-bit threshold", "1/7"))
    rings = ring_correlation(section.arrays["phases"][0], section.arrays["phases"][1])
    np.testing.assert_allclose(half.get_ydata(), rings.threshold("half_bit"))
    np.testing.assert_allclose(one.get_ydata(), rings.threshold("one_bit"))
    np.testing.assert_allclose(seventh.get_ydata(), 1 / 7)
    assert half.get_color() < one.get_color() == seventh.get_color()


def test_a_curve_that_does_not_cross_has_no_line_where_it_would(section):
    (axes,) = figure_of_correlation(section.arrays, section.facts).axes
    upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert upright == pytest.approx([1 / (2 * 38.4), 1 / (2 * 31.2)])


def test_repeats_that_do_not_stand_out_are_told_by_their_number(section):
    page = report_html([replace(section, facts=section.facts | {"lost_repeats": [1]})], "Film")
    assert LOST.format(section.facts["repeats"][1]) in page
    assert LOST.format(section.facts["repeats"][1]) not in report_html([section], "Film")
