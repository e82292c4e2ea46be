def test_a_result_prints_on_one_line(small_result):
    assert repr(small_result) == (
        "<Result of 12 frames, 3 iterations, R 0.0900, 40 x 44 pixels of 162.48 nm>"
    )
