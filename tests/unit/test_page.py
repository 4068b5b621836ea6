from idiolect.base.page import (
    Bar,
    Figures,
    Line,
    Note,
    Player,
    Section,
    Table,
    Tile,
    Tiles,
    histogram_svg,
    image_pixels,
    lines_svg,
    render_page,
    thinned,
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


def test_what_a_figure_shows_is_in_the_accent_and_what_it_is_compared_with_is_not():
    svg = lines_svg(
        [
            Line(label="after", x=[0, 1], y=[2, 1]),
            Line(label="before", x=[0], y=[2], is_main=False),
        ],
        *("step", "nats"),
    )

    assert "var(--accent)" in svg
    assert [svg.count(f">{text}<") for text in ("after", "before", "step", "nats")] == [1] * 4
    assert "var(--accent)" not in lines_svg(
        [Line(label="", x=[0, 1], y=[2, 1], is_main=False)], "step", "nats"
    )


def test_lines_that_must_be_read_from_zero_are():
    line = Line(label="", x=[0, 1], y=[50.0, 51.0])

    assert ">0<" in lines_svg([line], "day", "%", from_zero=True).replace(">0.00<", "")
    assert ">20<" not in lines_svg([line], "day", "%")


def test_a_line_of_many_points_keeps_its_last_step_and_its_peaks():
    y = [0.0] * 1000
    y[501] = 7.0

    x, thin = thinned(range(1000), y, most=10, keep=max)

    assert (len(x), x[-1]) == (10, 999)
    assert (max(thin), thin.index(7.0)) == (7.0, 5)
    assert thinned([1, 2], [3, 4], most=2, keep=max) == ([1, 2], [3, 4])


def test_a_picture_stands_on_its_first_row():
    pixels = image_pixels([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])

    assert pixels.shape == (3, 2, 3)
    assert pixels[0].sum() > pixels[1].sum() > pixels[2].sum()


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
