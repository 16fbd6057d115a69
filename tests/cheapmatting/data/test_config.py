"""From configuration to sources."""

from pathlib import Path

import numpy as np
import pytest
from pairs import equal, mix_of, synthetic

from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from cheapmatting.data.augment import PLAIN
from cheapmatting.data.composed import ComposedSource
from cheapmatting.data.config import CutoutsConfig, DataConfig, PairsConfig, make_source
from cheapmatting.data.sources import LayeredSource, MixedSource
from cheapmatting.drawing.foregrounds import FOREGROUNDS

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def mix(tmp_path):
    return mix_of(tmp_path)


def test_defaults_are_plain_synthetic_pairs():
    settings = DataConfig()
    assert settings.augment == PLAIN and settings.size == 256 and settings.augment.trimap.radii == (1, 15)
    source = make_source(DataConfig(size=48), 3)
    assert isinstance(source, LayeredSource)
    assert from_dict(DataConfig, to_dict(DataConfig()), "x") == settings


def test_a_mix_draws_by_weight_and_apart_from_what_the_sources_draw():
    sources = [synthetic(32, 0, kinds=(kind,)) for kind in ("sharp", "smoke", "glass")]
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
        make_source(DataConfig(size=48, sources=(CutoutsConfig(**mix["sources"][0], **{key: str(names)}),)), 0)
        for key in ("exclude", "include")
    )
    stems = [{path.stem for path in source.foreground.folder.paths} for source in (training, held_out)]
    assert stems == [{"broken", "cut1", "cut2"}, {"cut0"}]


def test_backgrounds_are_held_out_by_name_too(mix, tmp_path):
    names = tmp_path / "photos.txt"
    names.write_text("photo0\nphoto1\n")
    for key, expected in (("backgrounds_include", 2), ("backgrounds_exclude", 1)):
        one = CutoutsConfig(**mix["sources"][0], **{key: str(names)})
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
    one = {"kind": "synthetic", "kinds": ["net", "smoke", "net"]}
    drawn = make_source(from_dict(DataConfig, {"size": 48, "sources": [one]}, "x"), 0)
    assert drawn.foreground.kinds == ("net", "smoke", "net")
    assert make_source(from_dict(DataConfig, {"size": 48}, "x"), 0).foreground.kinds == tuple(FOREGROUNDS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "cutouts"}, r"sources\[0\]\.foregrounds: .*nothing"),
        ({"kind": "synthetic", "foregrounds": "x"}, r"sources\[0\]\.foregrounds: .*unknown key"),
        ({"kind": "synthetic", "kinds": ["hair", "hairs"]}, r"sources\[0\]\.kinds\[1\]: .*hairs"),
        ({"kind": "synthetic", "kinds": []}, r"sources\[0\]\.kinds: "),
        ({"kind": "cutouts", "foregrounds": "x", "kinds": ["hair"]}, r"sources\[0\]\.kinds: .*unknown key"),
        ({"kind": "cutouts", "foregrounds": "x", "exlude": "y"}, r"exlude: .*unknown key.*did you mean exclude"),
        ({"kind": "pairs", "foregrounds": "x"}, r"sources\[0\]\.alphas: .*nothing"),
        ({"kind": "composed", "images": "x", "alphas": "y", "backgrounds": "z"}, r"\.backgrounds: .*unknown key"),
        ({"kind": "cutouts", "foregrounds": "x", "backgrounds_include": "y"}, "a folder of backgrounds beside"),
        ({"kind": "video"}, r"sources\[0\]\.kind: .*synthetic, cutouts, pairs, composed.*video"),
        ({"foregrounds": "x"}, r"sources\[0\]\.kind: .*nothing"),
        ({"kind": "synthetic", "weight": 0}, r"sources\[0\]\.weight: .*0"),
    ],
)
def test_faulty_sources_are_named(keys, message):
    with pytest.raises(UserError, match=message):
        from_dict(DataConfig, {"sources": [keys]}, "data.yaml")


def test_a_missing_folder_is_named():
    missing = PairsConfig(foregrounds="no/fg", alphas="no/alpha")
    with pytest.raises(UserError, match="no/fg: expected a folder of images, which does not exist"):
        make_source(DataConfig(sources=(missing,)), 0)


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
