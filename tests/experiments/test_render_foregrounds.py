"""The foreground renderer: shapes, strands, colours, crop, plan and manifest without Blender; one picture with it."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "experiments" / "data" / "render_foregrounds.py"
HAS_BLENDER = importlib.util.find_spec("bpy") is not None


def load():
    specification = importlib.util.spec_from_file_location("render_foregrounds", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["render_foregrounds"] = module
    specification.loader.exec_module(module)
    return module


script = load()

from rendering import finish, shapes, strands  # noqa: E402
from rendering.kinds import KINDS, choose  # noqa: E402


def options(folder: Path, *more: str):
    return script.parser().parse_args(["--out", str(folder), *more])


def cutout(folder: Path, name: str, alpha: np.ndarray) -> Path:
    picture = np.full((*alpha.shape, 4), 128, np.uint8)
    picture[..., 3] = alpha
    path = folder / name
    script.write_picture(picture, path)
    return path


def test_colours_of_solid_pixels_are_kept():
    colour = np.random.default_rng(0).uniform(0.1, 0.9, (32, 32, 3)).astype(np.float32)
    filled = finish.straight_colours(colour, np.ones((32, 32), np.float32))
    np.testing.assert_allclose(filled, colour, rtol=1e-5)


def test_colours_under_faint_strands_come_from_their_neighbours():
    """A faint strand whose own samples all missed takes the colour of the solid body and the other strands."""
    colour = np.array([0.6, 0.3, 0.1], np.float32)
    alpha = np.zeros((64, 64), np.float32)
    alpha[:32] = 1
    alpha[32:60, ::4] = 0.1
    premultiplied = alpha[..., None] * colour
    premultiplied[40:60, 20] = 0
    filled = finish.straight_colours(premultiplied, alpha)
    assert np.abs(filled[:36] - colour).max() < 0.02
    assert np.abs(filled[40:60, 20] / colour - 1).max() < 0.5
    assert np.abs(filled[40:60, 40] / colour - 1).max() < 0.1


def test_colours_reach_every_pixel():
    alpha = np.zeros((64, 64), np.float32)
    alpha[20:40, 20:40] = 1
    filled = finish.straight_colours(alpha[..., None] * np.array([0.2, 0.4, 0.8], np.float32), alpha)
    np.testing.assert_allclose(filled[20:40, 20:40], np.broadcast_to([0.2, 0.4, 0.8], (20, 20, 3)), rtol=1e-3)
    np.testing.assert_allclose(filled[10, 30], [0.2, 0.4, 0.8], rtol=0.05)


def test_tone_is_srgb_below_the_shoulder_and_keeps_order_and_range_above():
    values = np.linspace(0, 8, 200)[:, None].repeat(3, 1)
    toned = finish.tone(values)
    np.testing.assert_allclose(finish.tone(np.full((1, 3), 0.2140)), 0.5, atol=1e-3)
    assert (np.diff(toned[:, 0]) >= 0).all()
    assert toned.max() <= 1 and toned.min() >= 0


def test_tone_keeps_the_hue_of_highlights():
    red, green, blue = finish.tone(np.array([[2.0, 1.0, 0.2]]))[0]
    assert red > green + 0.1 > blue + 0.2


def test_exposure_has_limits():
    alpha = np.ones((8, 8), np.float32)
    assert finish.exposure(np.full((8, 8, 3), 1e-6, np.float32), alpha, 0.2) == 6.0
    assert finish.exposure(np.full((8, 8, 3), 100, np.float32), alpha, 0.2) == 0.3
    assert finish.exposure(np.full((8, 8, 3), 0.1, np.float32), alpha, 0.2) == pytest.approx(2, rel=1e-3)


def test_crop_leaves_a_margin_and_stops_at_the_border():
    picture = np.zeros((20, 30, 4), np.uint8)
    picture[5:9, 10:15, 3] = 200
    assert finish.crop(picture).shape == (8, 9, 4)
    picture[0, 29, 3] = 255
    assert finish.crop(picture).shape == (11, 22, 4)
    picture[19, 0, 3] = 1
    assert finish.crop(picture).shape == (11, 22, 4)


def test_crop_of_an_empty_picture_fails():
    with pytest.raises(ValueError, match="empty"):
        finish.crop(np.zeros((4, 4, 4), np.uint8))


def test_surface_of_a_ball():
    body = shapes.Body([shapes.Part((0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5))], cells=24)
    mesh = shapes.surface(body, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1, atol=1e-3)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    outward = (normals * corners.mean(1)).sum(-1)
    assert (outward > 0).all() or (outward < 0).all()
    edges = np.sort(np.concatenate([mesh.faces[:, [i, (i + 1) % 4]] for i in range(4)]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_strands_start_at_their_roots_keep_their_lengths_and_stay_outside():
    rng = np.random.default_rng(0)
    body = shapes.Body([shapes.Part((0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5))], cells=24)
    roots = shapes.scatter(shapes.surface(body, rng), 200, rng)
    groom = strands.Groom(gravity=0.2, clearance=0.0)
    curves = strands.grow(roots, body.gradient(roots), np.full(200, 1.5), 32, groom, rng, body)
    np.testing.assert_array_equal(curves[:, 0], roots)
    assert np.linalg.norm(np.diff(curves, axis=1), axis=-1).sum(1).max() < 1.6
    assert np.linalg.norm(curves, axis=-1).min() > 0.97
    assert (curves[:, -1, 2] - curves[:, 0, 2]).mean() < -0.8


def test_the_frame_grows_and_moves_to_hold_the_strands():
    curves = np.zeros((1, 9, 3))
    curves[0, :, 0] = np.linspace(-0.5, 2.5, 9)
    curves[0, :, 2] = np.linspace(-9, 2.5, 9)
    subject = strands.Subject([], [strands.Strands(curves, 1.0, np.ones(3))], np.zeros(3), 3.0, elevation=0)
    strands.fit(subject)
    assert 3.3 < subject.extent < 3.6
    assert subject.centre[0] - subject.extent / 2 < -0.5 and subject.centre[0] + subject.extent / 2 > 2.5
    assert subject.centre[2] + subject.extent / 2 == pytest.approx(2.6, abs=0.1)
    small = strands.Subject([], [strands.Strands(curves * 0.1, 1.0, np.ones(3))], np.zeros(3), 3.0, elevation=0)
    strands.fit(small)
    assert small.extent == 3.0 and np.abs(small.centre).max() == 0


def test_clumps_draw_tips_together_and_leave_roots():
    curves = np.random.default_rng(0).normal(size=(100, 8, 3))
    drawn, owner = strands.clump(curves, 5, 1.0, np.random.default_rng(1), loose=0)
    np.testing.assert_array_equal(drawn[:, 0], curves[:, 0])
    spread = [np.std(c[owner == i][:, -1], axis=0).mean() for c in (curves, drawn) for i in np.unique(owner)]
    assert np.mean(spread[5:]) < 0.5 * np.mean(spread[:5])


def test_natural_hair_absorbs_more_with_melanin_and_least_red():
    pale, dark = strands.melanin_absorption(np.array([0.1, 0.9]), np.array([0.0, 0.0]))
    assert (dark > pale).all()
    assert dark[0] < dark[1] < dark[2]


@pytest.mark.parametrize("kind", ["wiry", "tassels", "flag", "knit", "lace", "feathers", "seeds"])
def test_subjects_are_finite_and_repeat(kind):
    first, second = (KINDS[kind][1](np.random.default_rng(3)) for _ in range(2))
    assert first.strands
    for one, two in zip(first.strands, second.strands, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        assert all(np.isfinite(values).all() for values in (one.points, one.width, one.colour))
        assert (one.width >= 0).all() and (one.colour >= 0).all()


def test_kinds_are_chosen_by_weight_among_those_allowed():
    rng = np.random.default_rng(0)
    drawn = [choose(rng, ["long_hair", "seeds"]) for _ in range(200)]
    assert set(drawn) == {"long_hair", "seeds"}
    assert drawn.count("long_hair") > 150


def test_a_plan_does_not_depend_on_its_length(tmp_path):
    short, long = (script.plan(options(tmp_path, "--count", count, "--seed", "4")) for count in ("5", "20"))
    assert long[:5] == short
    assert len({job.path for job in long}) == 20


def test_manifest_lists_pictures_and_forgets_removed_ones(tmp_path):
    alpha = np.zeros((10, 20), np.uint8)
    alpha[:, 10:] = 255
    alpha[:, 8:10] = 100
    path = cutout(tmp_path, "long_hair__7_00012.webp", alpha)
    cutout(tmp_path, "lace__7_00013.webp", alpha)
    assert script.write_manifest(tmp_path) == 2
    row = script.read_manifest(tmp_path / "manifest.tsv")["long_hair__7_00012.webp"]
    assert list(row.values()) == ["long_hair__7_00012.webp", "7", "12", "long_hair", "20", "10", "0.1000"]
    path.unlink()
    assert script.write_manifest(tmp_path) == 1
    assert not list(tmp_path.glob(".*"))


def test_alpha_is_written_exactly(tmp_path):
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Image.open(cutout(tmp_path, "lace__0_00000.webp", alpha)) as picture:
        np.testing.assert_array_equal(np.asarray(picture)[..., 3], alpha)


def test_times_read_well():
    assert script.span(75.2) == "0:01:15"
    assert script.span(36000) == "10:00:00"


@pytest.mark.skipif(HAS_BLENDER, reason="Blender is installed, so that the command has nothing to complain about")
def test_without_blender_one_line_names_the_mend(tmp_path, capsys):
    assert script.main(["--out", str(tmp_path / "new"), "--count", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and 'pip install -e ".[render]"' in error
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not HAS_BLENDER, reason='needs Blender as a Python package: pip install -e ".[render]"')
def test_a_small_picture_and_its_resumed_run(tmp_path, capsys):
    small = ["--out", str(tmp_path), "--count", "1", "--size", "48", "--kinds", "grass", "--colour-samples", "2"]
    assert script.main([*small, "--alpha-samples", "32"]) == 0
    (path,) = tmp_path.glob("grass__0_00000.webp")
    with Image.open(path) as picture:
        alpha = np.asarray(picture)[..., 3]
    assert 0.02 < finish.soft_share(alpha) < 1 and alpha.max() == 255
    written = path.stat().st_mtime_ns
    assert script.main([*small, "--alpha-samples", "32"]) == 0
    assert path.stat().st_mtime_ns == written
    assert "1 of 1 pictures are there, 0 to render" in capsys.readouterr().out


def test_more_pictures_than_one_pool_of_processes_makes_all_come_back(tmp_path, monkeypatch):
    """Failures too. A pool that replaces its processes by itself stopped for ever after 20 pictures a process."""
    monkeypatch.setattr(script, "PICTURES_A_PROCESS", 1)
    jobs = [script.Job(0, index, "no such kind", str(tmp_path), 32, 1, 1, 1) for index in range(5)]
    done = list(script.rendered(jobs, 2))
    assert sorted(job.index for job, _ in done) == [0, 1, 2, 3, 4]
    assert all(isinstance(error, KeyError if HAS_BLENDER else ImportError) for _, error in done)
