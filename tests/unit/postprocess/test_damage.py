import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.damage import contrast_loss, correlation_sigma, damage_measures
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.repeats import HighAngleSignal, Repeat, RepeatSeries
from ptycho_plugin.simulation.dying_film import REPEAT_GY


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("critical", [10.0, 40.0])
def test_the_loss_is_that_of_the_sample_whatever_the_noise(dying_film, noise, critical):
    film = dying_film(3, critical, noise)
    series = film.series(5)
    lost, sigma = contrast_loss(series).lost(5 * REPEAT_GY)
    assert lost == pytest.approx(film.lost(5), abs=3 * sigma + 0.02 * film.lost(5))
    assert sigma < 0.04


def test_two_repeats_are_just_enough(dying_film):
    film = dying_film(5, 10.0, 0.2)
    lost, sigma = contrast_loss(film.series(2)).lost(2 * REPEAT_GY)
    assert sigma < 0.02
    assert lost == pytest.approx(film.lost(2), abs=3 * sigma)


def test_a_sample_that_does_not_die_loses_nothing(dying_film):
    lost, sigma = contrast_loss(dying_film(2, 1e9).series(4)).lost(4 * REPEAT_GY)
    assert abs(lost) < 3 * sigma < 0.05


def test_the_uncertainty_is_the_scatter(dying_film):
    """Of ten films that die alike; the standard deviation of ten is known to a quarter."""
    losses = [contrast_loss(dying_film(seed, 20.0).series(3)).lost(3 * REPEAT_GY) for seed in range(10)]
    values, sigmas = np.array(losses).T
    assert 0.5 < np.std(values, ddof=1) / np.sqrt(np.mean(sigmas**2)) < 1.6


def test_noise_does_not_pass_for_contrast(dying_film):
    quiet, noisy = (dying_film(1, 30.0, noise).series(3) for noise in (0.0, 0.8))
    contrasts = [contrast_loss(series).contrast for series in (quiet, noisy)]
    assert noisy.phases[0].std() > 1.2 * quiet.phases[0].std()
    np.testing.assert_allclose(*contrasts, rtol=0.05)
    np.testing.assert_allclose(contrasts[0] / contrasts[0][0], np.exp(-np.arange(3) / 30), rtol=0.005)


def test_a_repeat_with_other_photons_has_other_noise(dying_film):
    """The second repeat took a quarter of the photons: twice the noise is no contrast."""
    film = dying_film(4, 1e9, 0.25)
    first, _, third, fourth = film.repeats(4)
    (second,) = [list(dying_film(4, 1e9, 0.5).repeats(2))[1]]
    end = REPEAT_GY * np.array([1, 1.25, 2.25, 3.25])
    doses = zip(np.r_[0, end[:-1]], end, strict=True)
    maps = [repeat.transmission for repeat in (first, second, third, fourth)]
    series = RepeatSeries(Repeat(image, *dose) for image, dose in zip(maps, doses, strict=True))
    lost, sigma = contrast_loss(series).lost(end[-1])
    assert abs(lost) < 3 * sigma < 0.05


def test_one_repeat_tells_nothing(dying_film):
    with pytest.raises(InputError, match="take two or more"):
        contrast_loss(dying_film(0).series(1))


def test_maps_of_different_regions_are_refused(dying_film):
    (one,), (_, other) = dying_film(0, noise=0).repeats(1), dying_film(1, noise=0).repeats(2)
    opposite = Repeat(one.transmission.conj(), other.dose_before, other.dose_after)
    with pytest.raises(InputError, match="not maps of one region"):
        contrast_loss(RepeatSeries([one, opposite]))


def test_correlation_falls_with_dose_first_at_high_frequencies(dying_film):
    measures = damage_measures(dying_film(6, 10.0, 0.1).series(5))
    early, late = measures.correlation[0].correlation, measures.correlation[-1].correlation
    fine = slice(len(late) // 2, None)
    assert late[fine].mean() < early[fine].mean()
    assert (early - late)[fine].mean() > (early - late)[4:12].mean()
    assert measures.dose.shape == (5,)
    assert measures.correlation_sigma.shape == (4, len(late))
    assert measures.high_angle == (None,) * 5


def test_the_correlations_uncertainty_is_its_scatter():
    rng = np.random.default_rng(0)

    def pair():
        common = rng.normal(size=(64, 64))
        return [common + rng.normal(size=(64, 64)) for _ in range(2)]

    rings = [ring_correlation(*pair()) for _ in range(60)]
    scatter = np.std([r.correlation for r in rings], axis=0)[4:]
    expected = np.mean([correlation_sigma(r) for r in rings], axis=0)[4:]
    # the soft mask leaves fewer independent pixels than there are
    assert 0.9 < np.mean(scatter / expected) < 1.6


def test_signals_stay_with_their_repeats(dying_film):
    signals = [HighAngleSignal(1.0, 0.1), HighAngleSignal(0.9, 0.1)]
    repeats = [
        Repeat(repeat.transmission, repeat.dose_before, repeat.dose_after, signal)
        for repeat, signal in zip(dying_film(0).repeats(2), signals, strict=True)
    ]
    assert damage_measures(RepeatSeries(repeats)).high_angle == tuple(signals)
