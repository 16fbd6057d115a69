"""Pictures in rows and columns."""

import numpy as np

from cheapmatting.picture_grid import GAP, GREEN, LABEL, Row, error_picture, on_green, picture_grid


def test_a_grid_fits_pictures_and_leaves_room_for_missing_ones():
    tall, small = np.full((100, 50, 3), 7, np.uint8), np.full((5, 10), 9, np.uint8)
    grid = picture_grid(["a", "b"], [Row("one", [tall, small]), Row("two", [None, small])], tile=50)
    assert grid.shape == (LABEL + (LABEL + 50) + (LABEL + 25), 2 * 50 + GAP, 3)
    first = grid[2 * LABEL : 2 * LABEL + 50]
    assert (first[:, :25] == 7).all() and (first[:, 25:50] == 235).all()
    assert (first[:25, 54:] == 9).all() and (first[25:, 54:] == 235).all()
    second = grid[3 * LABEL + 50 :]
    assert (second[:, :50] == 235).all() and (second[:, 54:] == 9).all()


def test_errors_are_red_and_blue():
    alpha, truth = np.uint8([[255, 0, 128, 255]]), np.uint8([[0, 255, 128, 0]])
    picture = error_picture(alpha, truth, np.uint8([[128, 128, 128, 255]]))
    assert picture[0].tolist() == [[255, 85, 0], [0, 85, 255], [0, 0, 0], [45, 45, 45]]


def test_a_cut_out_lets_green_through_where_it_is_clear():
    rgba = np.uint8([[[200, 0, 100, 255], [200, 0, 100, 0], [200, 0, 100, 51]]])
    shown = on_green(rgba)[0]
    assert shown[0].tolist() == [200, 0, 100] and shown[1].tolist() == list(GREEN)
    np.testing.assert_allclose(shown[2], 0.2 * np.array([200, 0, 100]) + 0.8 * np.array(GREEN), atol=0.5)


def test_labels_longer_than_their_room_are_shortened_and_never_widen_the_grid():
    small = np.full((5, 5), 9, np.uint8)
    grid = picture_grid(["a heading much too long"], [Row("x" * 500, [small])], tile=32)
    assert grid.shape == (2 * LABEL + 32, 32, 3) and (grid[:LABEL] < 128).any()
