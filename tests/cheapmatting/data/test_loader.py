"""From configuration to batches."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import equal, write_cutout, write_pair

from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from cheapmatting.data.composed import ComposedSource
from cheapmatting.data.config import DataConfig, MixedSource, SourceConfig, make_source
from cheapmatting.data.loader import Pool, batches
from cheapmatting.data.sample import Batch
from cheapmatting.data.sources import FolderSource, LayeredSource, SyntheticSource
from cheapmatting.drawing.foregrounds import FOREGROUNDS
from cheapmatting.images import write_image


@pytest.fixture
def mix(tmp_path) -> dict:
    """A configuration of every kind of source, with all augmentation."""
    cutouts, photos = tmp_path / "cutouts", tmp_path / "photos"
    cutouts.mkdir()
    photos.mkdir()
    for i in range(3):
        write_cutout(cutouts / f"cut{i}.png", i)
        noise = np.random.default_rng(i).integers(0, 256, (90, 70, 3)).astype(np.uint8)
        write_image(photos / f"photo{i}.jpg", noise)
    write_pair(tmp_path, "a", 7)
    (cutouts / "broken.png").write_bytes(b"broken")
    pairs = {"foregrounds": str(tmp_path / "colours"), "alphas": str(tmp_path / "alphas")}
    return {
        "size": 48,
        "augment": {"real_world": True},
        "sources": [
            {"kind": "cutouts", "foregrounds": str(cutouts), "backgrounds": str(photos), "weight": 2.0},
            {"kind": "pairs", **pairs, "backgrounds": str(photos)},
            {"kind": "composed", "images": str(tmp_path / "colours"), "alphas": str(tmp_path / "alphas")},
            {"kind": "synthetic"},
        ],
    }


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_defaults_are_plain_synthetic_pairs():
    settings = DataConfig()
    assert settings.augment is None and settings.size == 256 and settings.trimap_radii == (1, 15)
    source = make_source(DataConfig(size=48), 3)
    assert isinstance(source, LayeredSource)
    assert all(equal(source[i], SyntheticSource(48, 3)[i]) for i in range(3))
    assert from_dict(DataConfig, to_dict(DataConfig()), "x") == settings


def test_a_folder_by_configuration_is_the_folder_source(mix):
    one = SourceConfig(**mix["sources"][0])
    source = make_source(DataConfig(size=48, sources=(one,)), 5)
    same_folder = FolderSource(one.foregrounds, one.backgrounds, 48, 5)
    assert all(equal(source[i], same_folder[i]) for i in range(4))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_from_any_number_of_workers(mix, workers):
    source = make_source(from_dict(DataConfig, mix, "x"), seed=4)
    expected = list(islice(batches(source, 3), 6))
    fresh = make_source(from_dict(DataConfig, mix, "x"), seed=4)
    found = list(islice(batches(fresh, 3, workers=workers), 6))
    assert all(same(*pair) for pair in zip(expected, found, strict=True))
    later = next(batches(fresh, 3, start=4, workers=workers))
    assert same(later, expected[4]) and not same(later, expected[3])


def test_a_mix_draws_by_weight_and_apart_from_what_the_sources_draw():
    sources = [SyntheticSource(32, 0, kinds=[kind]) for kind in ("sharp", "smoke", "glass")]
    mixed = MixedSource(sources, [1, 2, 1], seed=0)
    drawn = [next(k for k, source in enumerate(sources) if equal(source[i], mixed[i])) for i in range(60)]
    shares = np.bincount(drawn, minlength=3) / 60
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.15)
    firsts: dict[int, list[float]] = {0: [], 1: [], 2: []}  # each source's first number, by the source chosen

    class First:
        def __init__(self, name: int) -> None:
            self.name = name

        def __getitem__(self, index: int) -> None:
            firsts[self.name].append(np.random.default_rng([0, index]).random())

    chooser = MixedSource([First(0), First(1), First(2)], [1, 2, 1], seed=0)
    for i in range(600):
        chooser[i]
    for values in firsts.values():
        assert min(values) < 0.05 and max(values) > 0.95 and abs(np.mean(values) - 0.5) < 0.1


def test_held_out_names_never_appear_in_training(mix, tmp_path):
    names = tmp_path / "held_out.txt"
    names.write_text("cut0.png\n")
    training, held_out = (
        make_source(DataConfig(size=48, sources=(SourceConfig(**mix["sources"][0], **{key: str(names)}),)), 0)
        for key in ("without", "only")
    )
    stems = [{path.stem for path in source.foreground.folder.paths} for source in (training, held_out)]
    assert stems == [{"broken", "cut1", "cut2"}, {"cut0"}]


def test_backgrounds_are_held_out_by_name_too(mix, tmp_path):
    names = tmp_path / "photos.txt"
    names.write_text("photo0\nphoto1\n")
    for key, expected in (("backgrounds_only", 2), ("backgrounds_without", 1)):
        one = SourceConfig(**mix["sources"][0], **{key: str(names)})
        assert len(make_source(DataConfig(sources=(one,)), 0).background.photos) == expected


def test_kinds_become_their_sources(mix):
    source = make_source(from_dict(DataConfig, mix, "x"), 0)
    assert [type(one) for one in source.sources] == [LayeredSource, LayeredSource, ComposedSource, LayeredSource]
    assert source.sources[0].background.photos.cache is source.sources[1].foreground.folder.cache
    samples = [source[i] for i in range(30)]
    assert {sample.layered for sample in samples} == {True, False}
    assert all(sample.degraded is not None for sample in samples)
    assert {path.name for path in source.sources[0].foreground.folder.skipped} == {"broken.png"}


def test_drawn_kinds_are_as_frequent_as_they_are_named():
    drawn = make_source(from_dict(DataConfig, {"size": 48, "sources": [{"kinds": ["net", "smoke", "net"]}]}, "x"), 0)
    assert drawn.foreground.kinds == ("net", "smoke", "net")
    assert make_source(from_dict(DataConfig, {"size": 48}, "x"), 0).foreground.kinds == tuple(FOREGROUNDS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "cutouts"}, "for kind cutouts: foregrounds needed, only, without, backgrounds, .* possible"),
        ({"foregrounds": "x"}, "for kind synthetic: nothing needed, kinds, backgrounds"),
        ({"kinds": ["hair", "hairs"]}, "sources.0..kinds.1.: expected one of hair, fur.*hairs"),
        ({"kinds": []}, "sources.0..kinds: expected 1 or more items"),
        ({"kind": "cutouts", "foregrounds": "x", "kinds": ["hair"]}, "for kind cutouts: foregrounds needed"),
        ({"kind": "pairs", "foregrounds": "x"}, "for kind pairs: foregrounds and alphas needed"),
        ({"kind": "composed", "images": "x", "alphas": "y", "backgrounds": "z"}, "trimaps, only, without possible"),
        ({"kind": "cutouts", "foregrounds": "x", "backgrounds_only": "y"}, "beside a folder of backgrounds alone"),
        ({"kind": "video"}, 'sources.0..kind: expected .*got "video"'),
        ({"weight": 0}, "sources.0..weight: expected more than 0, got 0"),
        ({"folder": "x"}, "sources.0..folder: unknown key"),
    ],
)
def test_faulty_sources_are_named(keys, message):
    with pytest.raises(UserError, match=message):
        from_dict(DataConfig, {"sources": [keys]}, "data.yaml")


def test_a_missing_folder_is_named():
    missing = SourceConfig(kind="pairs", foregrounds="no/fg", alphas="no/alpha")
    with pytest.raises(UserError, match="no/fg: does not exist; a folder of images is needed"):
        make_source(DataConfig(sources=(missing,)), 0)


def test_a_pool_makes_each_sample_once():
    class Counted:
        made = 0

        def __getitem__(self, index: int):
            Counted.made += 1
            return SyntheticSource(32, 0)[index]

    pool = Pool(Counted(), 2)
    assert equal(pool[0], pool[2]) and equal(pool[1], pool[3]) and Counted.made == 2


DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the cut-outs and photographs in {DATA}")
def test_the_whole_mix_on_real_folders():
    folders = {"foregrounds": str(DATA / "foregrounds"), "backgrounds": str(DATA / "backgrounds")}
    sources = [{"kind": "cutouts", **folders}, {"kind": "synthetic", "backgrounds": folders["backgrounds"]}]
    source = make_source(from_dict(DataConfig, {"augment": {"real_world": True}, "sources": sources}, "x"), 0)
    for i in range(12):
        sample = source[i]
        assert sample.image.std() > 0.02 and (sample.trimap == 128).any()
        assert np.all(sample.alpha[sample.trimap == 255] > 253.5 / 255)
        assert np.all(sample.alpha[sample.trimap == 0] < 1.5 / 255)
