"""Transforms conserve photons; shifts move waves; plans are made once on a machine."""

import hashlib
import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pyfftw
import pytest

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction import fourier
from ptycho_plugin.reconstruction.fourier import Transforms, detector_order, shift_factors, wisdom_hash


@pytest.fixture(params=[16, 15], ids=["even", "odd"])
def wave(request):
    rng, shape = np.random.default_rng(3), (3, 2, request.param, request.param)
    wave = fourier.zeros(shape)
    wave[...] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return wave


@pytest.fixture
def transforms(wave):
    return Transforms(wave.shape[-1])


def test_transforms_are_bare(wave, transforms):
    expected = np.fft.fft2(wave.astype(np.complex128))
    np.testing.assert_allclose(transforms.forward(wave.copy()), expected, atol=1e-4)
    expected = np.fft.ifft2(wave.astype(np.complex128), norm="forward")
    np.testing.assert_allclose(transforms.inverse(wave.copy()), expected, atol=1e-4)


def test_transforms_are_unitary_up_to_the_side(wave, transforms):
    side, far = wave.shape[-1], transforms.forward(wave.copy())
    assert far.dtype == np.complex64
    assert np.vdot(far, far).real == pytest.approx(side**2 * np.vdot(wave, wave).real, rel=1e-5)
    np.testing.assert_allclose(transforms.inverse(far) / side**2, wave, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_transforms_work_in_place(wave, transforms, direction):
    result = getattr(transforms, direction)(wave)
    assert np.shares_memory(result, wave)
    np.testing.assert_array_equal(result, wave)


def test_a_wave_is_transformed_alike_wherever_it_lies(wave, transforms):
    alone = fourier.zeros(wave.shape[-2:])
    alone[...] = wave[1, 1]
    np.testing.assert_array_equal(transforms.forward(wave)[1, 1], transforms.forward(alone))


def test_the_direct_beam_comes_first_in_detector_order():
    frame = np.zeros((1, 16, 16), np.float32)
    frame[0, 8, 8] = 1
    assert detector_order(frame)[0, 0, 0] == 1


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0), (2.0, -3.0)])
def test_a_whole_pixel_shift_moves_to_growing_indices(wave, transforms, shift):
    ((rows, columns),) = shift_factors(np.array([shift]), wave.shape[-1])
    moved = transforms.forward(wave.copy())
    moved *= rows[:, None] * columns
    expected = np.roll(wave, np.array(shift, int), axis=(-2, -1))
    np.testing.assert_allclose(transforms.inverse(moved), expected, atol=1e-5)


def test_half_shifts_add_up():
    half = 16 * shift_factors(np.array([[0.5, 0.25]]), 16)
    whole = 16 * shift_factors(np.array([[1.0, 0.5]]), 16)
    np.testing.assert_allclose(half * half, whole, atol=1e-6)


def fresh_process():
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def test_processes_that_race_get_one_plan(cache_home):
    with fresh_process() as one, fresh_process() as other:
        hashes = [process.submit(wisdom_hash, 24) for process in (one, other)]
        found = {future.result() for future in hashes}
    (file,) = (cache_home / "ptycho_plugin").iterdir()
    assert found == {hashlib.sha256(file.read_bytes()).hexdigest()} == {wisdom_hash(24)}


def test_of_two_that_measure_the_first_counts(cache_home, monkeypatch):
    measure, file = fourier._plans, fourier.wisdom_file(24)

    def and_be_overtaken(side, *effort):
        file.parent.mkdir()
        file.write_bytes(b"what another process learned")
        return measure(side, *effort)

    monkeypatch.setattr(fourier, "_plans", and_be_overtaken)
    assert wisdom_hash(24) == hashlib.sha256(b"what another process learned").hexdigest()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_no_room_for_plans_is_told_and_does_no_harm(cache_home, monkeypatch, caplog):
    (cache_home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "file"))
    wave = fourier.zeros((24, 24))
    wave[0, 0] = 1
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(Transforms(24).forward(wave), 1)
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()


def test_a_file_without_a_plan_is_named(cache_home):
    file = fourier.wisdom_file(24)
    file.parent.mkdir()
    file.write_bytes(b"nonsense")
    with pytest.raises(
        ReconstructionError, match="holds no plan for transforms of 24 x 24: delete it"
    ) as told:
        Transforms(24)
    assert str(file) in str(told.value)


def test_what_the_process_has_learned_besides_is_kept(cache_home):
    pyfftw.forget_wisdom()
    pyfftw.FFTW(*[pyfftw.empty_aligned(48, np.complex128)] * 2, flags=["FFTW_MEASURE"])
    before = pyfftw.export_wisdom()
    Transforms(24)
    assert pyfftw.export_wisdom() == before
