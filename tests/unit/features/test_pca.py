"""Principal components: true ones, the same each time, and clear about what they could not keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from asal.core import Features, Ids
from asal.errors import DamageError, UserError
from asal.features.pca import BATCH, Pca, Reduced, fit_pca
from asal.runtime.rng import stream

RNG = np.random.default_rng(0)
SPREAD = np.arange(1, 41) ** -1.0
TURN = np.linalg.qr(RNG.standard_normal((40, 40)))[0]
RAW: Features = ((RNG.standard_normal((3000, 40)) * SPREAD) @ TURN + 3).astype(np.float32)


def fit(raw: Features = RAW, dim: int = 10, seed: int = 0, sample: int | None = 20_000) -> Pca:
    def read(ids: Ids) -> Features:
        assert len(ids) <= BATCH
        return raw[ids]

    return fit_pca(read, len(raw), dim, rng=stream(seed, "pca"), sample=sample)


@pytest.mark.parametrize("sample", [20_000, None])
def test_finds_the_true_directions(sample: int | None) -> None:
    pca = fit(sample=sample)
    truth = PCA(10, svd_solver="full").fit(RAW.astype(np.float64))
    assert np.abs((pca.components * truth.components_).sum(axis=1)).min() > (0.999 if sample else 0.98)
    assert np.allclose(pca.explained, truth.explained_variance_ratio_, rtol=0.02)
    assert np.allclose(pca.components @ pca.components.T, np.eye(10), atol=1e-5)
    assert np.allclose(pca.mean, RAW.mean(axis=0), atol=1e-5)
    assert (pca.dim, pca.raw, pca.fitted_on) == (10, 40, 3000)
    share = 100 * pca.explained.sum()
    assert pca.summary == f"10 of 40 dimensions, {share:.1f}% of the variance, fitted on 3000 images"


def test_applies_what_it_found() -> None:
    pca = fit()
    found = pca.apply(RAW)
    assert found.dtype == np.float32
    assert found.shape == (3000, 10)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-4)
    assert (np.diff(found.var(axis=0)) < 0).all()
    tolerance = 40 * np.finfo(np.float32).eps * np.abs(found).max()  # blocks of other sizes differ in the last bits
    assert np.abs(pca.apply(RAW[:7]) - found[:7]).max() <= tolerance
    with pytest.raises(ValueError, match=r"\(n, 40\)"):
        pca.apply(RAW[:, 1:])


@pytest.mark.parametrize("sample", [500, None])
def test_the_same_stream_gives_the_same_projection(sample: int | None) -> None:
    a, b = fit(sample=sample), fit(sample=sample)
    assert np.array_equal(a.components, b.components)
    assert np.array_equal(a.mean, b.mean)
    assert a.fitted_on == (sample or 3000)
    assert (np.take_along_axis(a.components, np.abs(a.components).argmax(1)[:, None], 1) > 0).all()
    if sample:
        assert not np.array_equal(a.components, fit(seed=1, sample=sample).components)


def test_mirrored_features_do_not_flip_a_sign() -> None:
    a, b = fit().components, fit(2 * RAW.mean(axis=0) - RAW).components
    assert np.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("sample", [20_000, None])
def test_keeps_all_dimensions_where_there_are_few(sample: int | None) -> None:
    pca = fit(RAW[:, :6], dim=50, sample=sample)
    assert pca.dim == 6
    assert pca.summary.startswith("all 6 dimensions, rotated, 100.0%")
    apart = np.linalg.norm(RAW[0, :6] - RAW[1, :6])
    turned = pca.apply(RAW[:2, :6])
    assert np.linalg.norm(turned[0] - turned[1]) == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("sample", [20_000, None])
@pytest.mark.parametrize(("images", "kept"), [(2, 1), (5, 4), (11, 10)])
def test_keeps_what_a_small_pool_can_tell(images: int, kept: int, sample: int | None) -> None:
    assert fit(RAW[:images], dim=50, sample=sample).dim == kept


@pytest.mark.parametrize("sample", [20_000, None])
def test_drops_directions_in_which_nothing_varies(sample: int | None) -> None:
    flat = RAW.copy()
    flat[:, 5:] = 7.3
    assert fit(flat, dim=50, sample=sample).dim == 5


@pytest.mark.parametrize("sample", [20_000, None])
def test_an_offset_costs_no_precision(sample: int | None) -> None:
    a, b = fit(sample=sample), fit(RAW + np.float32(1e4), sample=sample)
    assert np.abs((a.components[:3] * b.components[:3]).sum(axis=1)).min() > 0.999
    assert np.allclose(a.explained, b.explained, rtol=1e-2)


def test_the_widest_features_are_fitted_too() -> None:
    wide = RAW[:300] @ RNG.standard_normal((40, 2500), dtype=np.float32)
    pca = fit(wide, dim=50)
    assert 35 <= pca.dim <= 40
    assert np.array_equal(pca.components, fit(wide, dim=50).components)


@pytest.mark.parametrize("sample", [20_000, None])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_refuses_constant_features(value: float, sample: int | None) -> None:
    with pytest.raises(UserError, match="the same features"):
        fit(np.full((2000, 8), value, np.float32), sample=sample)


@pytest.mark.parametrize("sample", [20_000, None])
def test_refuses_features_that_are_not_finite(sample: int | None) -> None:
    broken = RAW.copy()
    broken[2222, 3] = np.inf
    with pytest.raises(UserError, match="a NaN or an infinity"):
        fit(broken, sample=sample)


@pytest.mark.parametrize("what", [{"raw": RAW[:1]}, {"dim": 0}, {"sample": 1}])
def test_refuses_what_cannot_be_fitted(what: dict[str, object]) -> None:
    with pytest.raises(UserError, match="two images or more"):
        fit(**what)  # type: ignore[arg-type]


def test_is_the_same_when_loaded(tmp_path: Path) -> None:
    pca = fit()
    pca.save(tmp_path)
    again = Pca.load(tmp_path)
    assert np.array_equal(again.apply(RAW), pca.apply(RAW))
    assert again.summary == pca.summary


def test_names_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="missing"):
        Pca.load(tmp_path)
    fit().save(tmp_path)
    path = tmp_path / Pca.FILE
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DamageError, match="complete projection"):
        Pca.load(tmp_path)


def test_reduced_is_an_extractor() -> None:
    class Flat:
        dim = 40

        def __call__(self, images: np.ndarray) -> Features:
            return images.reshape(len(images), -1).astype(np.float32)

    reduced = Reduced(Flat(), fit())
    images = RNG.integers(0, 255, size=(9, 4, 10, 1)).astype(np.uint8)
    assert reduced.dim == 10
    assert np.array_equal(reduced(images), reduced.pca.apply(Flat()(images)))
