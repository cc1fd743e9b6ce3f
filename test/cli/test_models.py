# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Against the papers' tables, NDNet's logs and the exact parameter counts."""

from __future__ import annotations

import json

import pytest

from lrn_ros.cli import main

pytest.importorskip("torch")

# Exact parameters with 19 classes; convolutions and total in billions at 512x1024.
EXPECTED = {
    "lrnnet_a": (672_930, 8.219, 8.477),
    "lrnnet_b": (681_122, 8.287, 8.578),
    "lrnnet_c": (681_122, 8.287, 8.588),
    "lrnnet_ssnbt": (943_874, 11.483, 11.715),
    "lednet": (922_821, 11.208, 11.547),
    "ndnet45": (399_947, 0.494, 0.523),  # a quarter of the logs' 2.09 at 1024x2048
}
# What the papers report in millions and billions, and how far from it an independent count is, %.
REPORTED = {
    ("lrnnet_a", 512): (0.67, 8.48, 0.4, 0.0),
    ("lrnnet_max", 512): (0.68, 8.54, 0.2, 0.0),
    ("lrnnet_c", 512): (0.68, 8.58, 0.2, 0.1),
    ("lrnnet_nonlocal", 512): (None, 12.5, None, 2.7),
    ("lrnnet_ss4", 512): (None, 8.51, None, 0.5),
    ("lednet", 512): (0.94, 11.5, -1.8, 0.4),
    ("ndnet61", 1024): (0.292, 1.72, 5.3, 0.1),
    ("frm_ppm", 1024): (15.23, 213.21, 0.0, -0.7),
    ("frm", 1024): (16.48, 214.82, 0.0, 0.3),
    ("frm", 720): (16.48, 94.55, 0.0, 0.3),
}


def test_models_as_json(capsys):
    assert main(["models", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    found = {m["name"]: m for m in data["architectures"]}
    assert data["size"] == [512, 1024] and data["classes"] == 19
    rows = {(r["architecture"], r["size"][0]): r for r in data["reported"]}
    for key, (millions, billions, *off) in REPORTED.items():
        row = rows[key]
        assert row["parameters_reported_millions"] == millions
        assert row["multiply_adds_reported_billions"] == billions
        found_off = [
            millions and 100 * (row["parameters"] / 1e6 / millions - 1),
            100 * (row["multiply_adds"] / 1e9 / billions - 1),
        ]
        assert found_off == pytest.approx(off, abs=0.051)
    for name, (parameters, conv, total) in EXPECTED.items():
        assert found[name]["parameters"] == parameters
        assert found[name]["conv_multiply_adds"] / 1e9 == pytest.approx(conv, abs=5e-4)
        assert found[name]["total_multiply_adds"] / 1e9 == pytest.approx(total, abs=5e-4)


def test_models_table(capsys, random_model, monkeypatch):
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: random_model.parent)
    # 360x480 as CamVid: the paper's model C there, 2.731 / 2.830 billion.
    assert main(["models", "--size", "360", "480"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines if line.startswith("lrnnet_c "))
    assert row[1] == "681,122"
    assert [float(v) for v in row[2:]] == pytest.approx([2.731, 2.830], abs=5e-4)
    # Whatever --size is: the paper's size.
    reported = next(line for line in lines if "LRNNet" in line and "lrnnet_c" in line)
    assert reported.split()[3:] == [
        *("lrnnet_c", "512x1024", "ptflops", "+", "core"),
        *("0.68", "0.681", "+0.2", "%", "8.58", "8.588", "+0.1", "%"),
    ]
    assert any("teachers" in line and "none of the four papers" in line for line in lines)
    assert any(line.split()[:3] == ["random", "lrnnet_c", "11"] for line in lines)


# Every row that concerns a network of the package, by table.
ROWS = {
    "LRNNet table 1": ["SS-nbt", "A", "max", "avg", "B", "C"],
    "LRNNet table 2": [
        *("non-local", "SS 16x16", "SS 8x8", "SS 4x4", "MS 8x8 + 4x4", "MS 8x8 + 4x4 + 2x2"),
    ],
    "LRNNet table 3": ["LEDNet", "A", "B", "C"],
    "LRNNet table 4": ["SS-nbt", "A", "B", "C"],
    "LEDNet table 2": ["LEDNet, fine labels", "LEDNet, with coarse labels"],
    "NDNet table II, logs": [
        *("NDNet29", "NDNet45", "NDNet61", "NDNet29, wide"),
        *("NDNet29 (e=2)", "NDNet45 (e=2)", "NDNet61 (e=2)"),
    ],
    "NDNet, abstract": ["NDNet45, FCN32"],
    "FRM": ["PPM", "DAPPM", "FRM", "FRM"],
}


def test_the_tables_of_the_papers(capsys, random_model, monkeypatch):
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: random_model.parent)
    assert main(["models", "--papers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found: dict = {}
    for row in rows:
        if row["architecture"]:
            found.setdefault(row["source"], []).append(row["network"])
            assert row["parameters_here"] > 1e5 and row["trained_here"] is None
            assert set(row["multiply_adds_here"]) == {"conv", "ptflops", "ptflops + core"}
        else:
            assert row["parameters_here"] is row["multiply_adds_here"] is None
    assert found == ROWS
    by_name = {(row["source"], row["network"]): row for row in rows}
    # Of the papers' abstracts and tables.
    for key, miou in {
        ("LRNNet table 3", "C"): 72.2, ("LRNNet table 4", "A"): 67.6,
        ("LRNNet table 4", "C"): 69.2, ("LEDNet table 2", "LEDNet, with coarse labels"): 70.6,
        ("NDNet, abstract", "NDNet45, FCN32"): 61.5, ("FRM", "ENet"): None,
    }.items():  # fmt: skip
        assert by_name.get(key, {}).get("miou") == miou
    for row in rows:
        if row["classes"]:  # the mean that is printed; one row says that it is not
            mean = sum(row["classes"]) / 19
            assert len(row["classes"]) == 19
            assert abs(mean - row["miou"]) < 0.6 and (mean > row["miou"] - 0.56 or row["note"])


def test_the_tables_of_the_papers_as_text(capsys):
    assert main(["models", "--papers"]) == 0
    text = capsys.readouterr().out
    row = next(x for x in text.splitlines() if x.startswith("LRNNet table 2  non-local"))
    assert row.split()[-7:] == ["12.5", "8.287", "8.544", "12.839", "not", "trained", "3"]
    assert "  3  the paper adds 4.0 binary giga" in text
    row = next(x for x in text.splitlines() if x.startswith("LRNNet table 4  C "))
    assert "69.2     CamVid test" in row and " % camvid11 val" in row
    assert "not trained" not in row and "(cited)" in text
    assert text.count("not legible in the sources at hand") == 1


def test_the_figures_of_the_paper(capsys, random_model, dataset, tmp_path, monkeypatch):
    import cv2

    pytest.importorskip("matplotlib")
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: random_model.parent)
    out = tmp_path / "figures"
    arguments = ["models", "--figures", str(out), "--data", str(dataset), "--backend", "torch"]
    assert main([*arguments, "--images", "2", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "random" and row["parameters"] == pytest.approx(0.680858, abs=1e-6)
    assert main(["evaluate", str(random_model), str(dataset), "--backend", "torch", "--json"]) == 0
    assert row["miou"] == pytest.approx(100 * json.loads(capsys.readouterr().out)["miou"])
    for name in ("speed.png", "masks.png"):
        assert cv2.imread(str(out / name)).shape[2] == 3
    # Truth and mask are the second and third column of two rows.
    assert cv2.imread(str(out / "masks.png")).std() > 10
    assert main(arguments[:3]) == 2
    assert "--figures needs --data" in capsys.readouterr().err
