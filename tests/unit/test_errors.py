from idiolect.base.errors import UserError, did_you_mean, summarize


def test_an_error_says_what_where_and_how_to_mend():
    error = UserError("the clip is empty", where="a.jsonl:3", fix="record it again")

    assert str(error) == "the clip is empty\n  at:  a.jsonl:3\n  fix: record it again"


def test_a_long_list_of_faults_shows_the_first_ten_and_how_many_more():
    text = summarize(f"line {n}" for n in range(1, 14))

    assert text.splitlines()[9:] == ["line 10", "... and 3 more"]


def test_an_unknown_name_is_told_the_known_ones_and_the_nearest():
    assert did_you_mean("catalan", ["basque", "catala"]) == (
        "known: basque, catala; did you mean 'catala'?"
    )


def test_an_unknown_name_with_nothing_near_is_told_the_known_ones_only():
    assert did_you_mean("x", ["basque"]) == "known: basque"
