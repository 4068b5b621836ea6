from idiolect.base.skips import Skips


def test_a_tenth_may_be_left_out_and_no_more_unless_allowed():
    assert not Skips(num_all=10, num_skipped=1).is_too_much
    assert Skips(num_all=10, num_skipped=2).is_too_much
    assert not Skips(num_all=10, num_skipped=2, allowed=True).is_too_much


def test_the_error_offers_to_go_on_only_where_something_is_left():
    some, everything = Skips(num_all=9, num_skipped=2), Skips(num_all=2, num_skipped=2)

    assert some.problem("clips are bad") == "2 of 9 clips are bad, more than 10%"
    assert some.fix("mend them").endswith("mend them, or give --allow-skips to go on without them")
    assert everything.problem("clips are bad") == "2 of 2 clips are bad"
    assert everything.fix("mend them") == "mend them"
