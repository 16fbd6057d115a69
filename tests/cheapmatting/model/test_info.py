"""Figures of variants, side by side."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from small import NETWORK, edited

from atldas.common.errors import UserError
from cheapmatting.model import info as info_module
from cheapmatting.model.info import parse_size, table

inspect = functools.cache(info_module.inspect)


def test_the_published_network() -> None:
    info = inspect("cheapmatting", 1024, 1024)
    assert (info.name, info.parameters) == ("cheapmatting", 5_924_593)
    assert info.macs / 1e9 == pytest.approx(38.59, abs=0.005)
    assert {part: round(macs / 1e9, 2) for part, (_, macs) in info.parts.items()} == {
        "stem_half": 1.70, "stem_quarter": 2.29, "stem_eighth": 0.34, "cells": 11.32, "pyramid": 0.36,
        "decoder_16": 1.17, "decoder_8": 2.42, "decoder_4": 2.48, "decoder_2": 4.26, "head": 12.25,
    }  # fmt: skip


def test_parts_sum_to_the_whole(tmp_path: Path) -> None:
    for source in ("cheapmatting", str(edited(tmp_path, str(NETWORK)))):
        info = inspect(source, 512, 1024)
        assert sum(parameters for parameters, _ in info.parts.values()) == info.parameters
        assert sum(macs for _, macs in info.parts.values()) == info.macs


def test_macs_grow_with_the_area() -> None:
    # But for the pyramid, whose windows count what fits into them.
    small, large = inspect("cheapmatting", 512, 1024), inspect("cheapmatting", 1024, 1024)
    for part in small.parts:
        factor = large.parts[part][1] / small.parts[part][1]
        assert factor == pytest.approx(2, rel=0.01) if part != "pyramid" else 1.8 < factor < 2.2


def test_the_head_by_hand(tmp_path: Path) -> None:
    info = inspect(str(edited(tmp_path, "{decoder: [128, 128, 64, 10], head: [5, 7]}")), 96, 128)
    parameters = (16 * 5 * 9 + 5) + 5 + (5 * 7 * 9 + 7) + 7 + (7 + 1)
    assert info.parts["head"] == (parameters, 96 * 128 * (16 * 5 * 9 + 5 * 7 * 9 + 7))


def test_variants_side_by_side(tmp_path: Path) -> None:
    mine = edited(tmp_path, str(NETWORK), "mine")
    infos = [inspect("cheapmatting", 512, 1024), inspect(str(mine), 512, 1024)]
    lines = table(infos, 512, 1024).splitlines()
    assert lines[0].split() == ["cheapmatting", "mine"]
    assert [line.split()[0] for line in lines[1:-3]] == list(infos[0].parts)
    assert lines[-3].split() == ["parameters", "5,924,593", f"{infos[1].parameters:,}"]
    assert lines[-2].split()[:2] == ["at", "1024x512"]
    assert lines[-1].endswith("6,023,025)")
    assert {len(line) for line in lines[:-1]} == {len(lines[0])}  # columns stand under one another
    cells = next(line for line in lines if line.startswith("cells"))
    assert re.fullmatch(r"cells +[\d,]+ par\. +[\d.]+ GMACs {2,}[\d,]+ par\. +[\d.]+ GMACs", cells)


def test_another_network_of_the_published_name_is_not_taken_for_it(tmp_path: Path) -> None:
    info = inspect(str(edited(tmp_path, str(NETWORK), "cheapmatting")), 96, 96)
    assert "published" not in table([info], 96, 96)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1024", (1024, 1024)), ("1920x1080", (1088, 1920)), ("1920X1080", (1088, 1920)), ("1", (96, 96)),
        ("97x33", (96, 128)), ("99999", (100_000, 100_000)),
    ],
)  # fmt: skip
def test_sizes(text: str, expected: tuple[int, int]) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "x", "1024x", "x1024", "1x2x3", "1e3", "10.5", "1_000", " 5", "5 ", "100x0", "²", "٣", "100000",
     "9" * 5000, "1024\n", "0x10"],
)  # fmt: skip
def test_other_sizes(text: str) -> None:
    with pytest.raises(UserError, match=r"--size: found [\s\S]*, allowed is a side or WIDTHxHEIGHT in pixels"):
        parse_size(text)


def test_the_largest_size_can_be_counted() -> None:
    assert inspect("cheapmatting", *parse_size("99999")).macs / 1e9 > 300_000


def test_faults_name_the_file(tmp_path: Path) -> None:
    path = edited(tmp_path, "{width: 15}")
    with pytest.raises(UserError) as error:
        inspect(str(path), 96, 96)
    assert str(error.value) == f"{path}: network.width: expected a multiple of 2, got 15 (an integer)"
