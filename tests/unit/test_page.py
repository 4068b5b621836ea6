from idiolect.base.page import (
    Bar,
    Figures,
    Note,
    Player,
    Section,
    Table,
    Tile,
    Tiles,
    histogram_svg,
    render_page,
    write_page,
)


def page(*blocks):
    return render_page("A <title>", [Section(title="One", blocks=blocks)], subtitle="sub & title")


def test_every_text_is_escaped():
    html = page(
        Note(text="<script>alert(1)</script>"),
        Table(headers=["<h>"], rows=[["<b>"], [Bar(share=0.5, text="<i>")]]),
        Tiles(tiles=[Tile(label="<l>", value="<v>")]),
    )

    assert "<title>A &lt;title&gt;</title>" in html
    assert "sub &amp; title" in html
    for raw in ("<script>alert", "<b>&lt;b", "<h>", "<i>", "<l>", "<v>"):
        assert raw not in html.replace("<b>&lt;i&gt;</b>", "").replace("<b>&lt;v&gt;</b>", "")


def test_a_page_needs_nothing_beside_it():
    html = page(Figures(figures=[("lengths", histogram_svg([1.0, 2.0, 2.5], "seconds"))]))

    assert "<link" not in html
    assert "<script" not in html
    assert "@import" not in html


def test_figures_take_the_colours_of_the_theme():
    svg = histogram_svg([1.0, 2.0, 2.5], "seconds")

    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "var(--accent)" in svg
    assert "#010203" not in svg
    assert "prefers-color-scheme: dark" in page(Figures(figures=[("lengths", svg)]))


def test_a_figure_is_the_same_each_time():
    assert histogram_svg([1.0, 2.0], "seconds") == histogram_svg([1.0, 2.0], "seconds")


def test_a_player_cannot_leave_its_attribute():
    html = page(Table(headers=["sound"], rows=[[Player(src='a"onerror="x.wav', label="a")]]))

    assert 'src="a&#34;onerror=&#34;x.wav"' in html


def test_numbers_stand_flush_right_and_their_heading_too():
    html = page(Table(headers=["name", "clips"], rows=[["marta", 12]]))

    assert 'class="number">clips</th>' in html
    assert '<td class="number" data-label="clips">12</td>' in html


def test_a_page_is_written_to_its_path(tmp_path):
    write_page(tmp_path / "report.html", "Report", [])

    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
