def test_a_beamline_prints_on_one_line(make_beamline):
    assert repr(make_beamline()) == "<Beamline counting, 6199 eV, places: sample, specimen, empty>"
    assert repr(make_beamline(places={})).endswith("places: none>")
