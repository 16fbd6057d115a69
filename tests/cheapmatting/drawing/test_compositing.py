"""Layers: drawing, stacking, and colours for every pixel."""

import numpy as np

from cheapmatting.drawing.compositing import Canvas, as_layer, extended_colours, over, shaded, straight


def test_a_line_of_one_canvas_pixel_is_a_sub_pixel_strand():
    canvas = Canvas(32, oversampling=4)
    line = np.float32([[[-0.1, 0.5], [1.1, 0.5]]])
    canvas.strands(line, np.float32([[1, 0.5, 0]]))
    layer = canvas.layer()
    coverage = layer[:, 5:-5, 3].sum(axis=0)  # pixels of full cover in each column
    assert coverage.min() > 0.2 and coverage.max() < 0.8
    np.testing.assert_allclose(layer[..., 1], layer[..., 3] * 0.5, atol=2 / 255)


def test_drawing_is_over():
    canvas = Canvas(8)
    square = np.float32([[-1, -1], [2, -1], [2, 2], [-1, 2]])
    canvas.polygon(square, np.float32([1, 0, 0]))
    canvas.polygon(square * 0.5, np.float32([0, 0, 1]))
    np.testing.assert_allclose(canvas.layer()[2, 2], [0, 0, 1, 1])
    np.testing.assert_allclose(canvas.layer()[7, 7], [0, 0, 1, 1])
    canvas.hole(square)
    assert canvas.layer().max() == 0
    red, blue = np.float32([[[0.5, 0, 0, 0.5]]]), np.float32([[[0, 0, 0.8, 0.8]]])
    np.testing.assert_allclose(over(red, blue)[0, 0], [0.5, 0, 0.4, 0.9])


def test_extended_colours_leave_no_dark_fringe():
    """A red disc on transparent black: every pixel becomes red, so no soft or resized edge can darken."""
    ys, xs = np.mgrid[:61, :61]
    alpha = np.clip(20.5 - np.hypot(ys - 25, xs - 33), 0, 1).astype(np.float32)
    red = np.float32([0.9, 0.2, 0.1])
    colours = np.where(alpha[..., None] > 0, red, 0).astype(np.float32)
    np.testing.assert_allclose(extended_colours(as_layer(colours, alpha)), np.broadcast_to(red, (61, 61, 3)), atol=1e-4)


def test_extended_colours_come_from_the_neighbourhood():
    """Left half red at its edge, right half blue: transparent pixels take the colour of the nearer side."""
    layer = np.zeros((64, 64, 4), np.float32)
    layer[:, :8] = 1, 0, 0, 1
    layer[:, 56:] = 0, 0, 1, 1
    colours, alpha = straight(layer)
    np.testing.assert_array_equal(colours[:, :8], np.broadcast_to(np.float32([1, 0, 0]), (64, 8, 3)))
    assert colours[:, 8:20, 0].min() > 0.7 and colours[:, 44:56, 2].min() > 0.7
    np.testing.assert_allclose(colours.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(alpha, layer[..., 3])


def test_layers_are_premultiplied_and_straight_takes_it_back():
    rng = np.random.default_rng(0)
    colours, alpha = rng.random((9, 9, 3), np.float32), rng.uniform(0.2, 1, (9, 9)).astype(np.float32)
    layer = as_layer(colours, alpha)
    np.testing.assert_allclose(layer[..., 1], colours[..., 1] * alpha)
    back = straight(layer)
    np.testing.assert_allclose(back[0], colours, atol=1e-6)
    np.testing.assert_array_equal(back[1], alpha)


def test_light_changes_colours_and_never_makes_them_brighter_than_opaque():
    layer = as_layer(np.full((1, 2, 3), 0.4, np.float32), np.float32([[0.5, 1]]))
    lit = shaded(layer, np.float32([[0.5, 9]]))
    np.testing.assert_allclose(lit, [[[0.1, 0.1, 0.1, 0.5], [1, 1, 1, 1]]], atol=1e-6)
