from ptycho_plugin.live.outcome import LiveOutcome


def test_an_outcome_prints_what_there_is_to_say_with_rounded_numbers():
    outcome = LiveOutcome(
        "abc", None, "reconstructions/abc", 6.71234567, 175.2345678, 324, r_factor=0.0403009
    )
    assert repr(outcome) == (
        "<LiveOutcome uid='abc', tiled_path='reconstructions/abc', first_map_s=6.712, "
        "final_map_s=175.2, frames=324, r_factor=0.0403>"
    )


def test_what_went_wrong_is_printed_in_full():
    outcome = LiveOutcome("abc", missing=2, warnings=("late",), error="Tiled is gone")
    assert repr(outcome) == "<LiveOutcome uid='abc', missing=2, warnings=('late',), error='Tiled is gone'>"
