#!/usr/bin/env python3
"""Reports of squant-bench, read back as JSON and by SQLite.

usage: program_test.py BUILD [--host-gpu PROGRAM]

PROGRAM is squant-bench on a GPU made of the host. No figure is looked at beyond its being one: the machine is busy.
"""
import argparse
import json
import os
import pathlib
import sqlite3
import struct
import subprocess
import tempfile
import unittest

OPTIONS = None
SOURCE = pathlib.Path(__file__).resolve().parents[2]
EVALUATE = ["evaluate", "--models", "fmnist_resnet", "--bits", "4", "--images", "6", "--repeats", "1"]


def run(*arguments, host_gpu=False, code=0):
    program = OPTIONS.host_gpu if host_gpu else OPTIONS.build / "bin/squant-bench"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False,
                          env=dict(os.environ, CUDA_VISIBLE_DEVICES=""))  # none but the host's
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, not {code}:\n{done.stdout}{done.stderr}"
    return done


def report(*arguments, host_gpu=False):
    return json.loads(run(*arguments, "--format", "json", host_gpu=host_gpu).stdout)


def small_experiment(folder):
    """Two jobs on 30 grey images of Fashion-MNIST's size."""
    num_images, side = 30, 28
    (folder / "images").write_bytes(struct.pack(">4I", 0x803, num_images, side, side) + bytes(num_images * side * side))
    (folder / "labels").write_bytes(struct.pack(">2I", 0x801, num_images) + bytes(num_images))
    experiment = folder / "small.json"
    experiment.write_text(json.dumps({
        "dataset": {"format": "idx", "images": str(folder / "images"), "labels": str(folder / "labels")},
        "checkpoints": {"fmnist_resnet": str(SOURCE / "experiments/quickstart/fmnist_resnet.safetensors")},
        "matrix": {"model": ["fmnist_resnet"], "bits": ["float", "w4a4"], "mode": ["squant"]},
    }))
    return experiment


class ProgramTest(unittest.TestCase):
    def check_context(self, found, subcommand):
        self.assertEqual(found["subcommand"], subcommand)
        for name in ("date", "host", "cpu", "threads", "squant_sweep", "compiler", "libtorch", "command"):
            self.assertTrue(found["context"][name], name)

    def check_same_names(self, found, *arguments, host_gpu=False):
        """The SQL adds a row a result to a database, time after time, with the names of the JSON."""
        text = run(*arguments, "--format", "sql", host_gpu=host_gpu).stdout
        database = sqlite3.connect(":memory:")
        for _ in range(2):
            database.executescript(text)
        rows = database.execute(f"SELECT * FROM squant_bench_{found['subcommand']}")
        names = [column[0] for column in rows.description]
        self.assertEqual(names, [*found["context"], *found["summary"], *found["results"][0]])
        self.assertEqual(len(rows.fetchall()), 2 * len(found["results"]))


class CpuTest(ProgramTest):
    def test_evaluate(self):
        found = report(*EVALUATE)
        self.check_context(found, "evaluate")
        self.assertEqual([row["engine"] for row in found["results"]], ["float", "simulated w4a4", "integer w4a4"])
        for row in found["results"]:
            self.assertGreater(row["images_per_s"], 0)
            self.assertEqual(row["batch"], 6)  # no engine is given more images than there are
        self.check_same_names(found, *EVALUATE)

    def test_quantize(self):
        arguments = ["quantize", "--models", "fmnist_resnet,fmnist_mobilenet", "--bits", "3", "--benchmark_filter=squant-e",
                     "--benchmark_min_time=0.01"]
        found = report(*arguments)
        self.check_context(found, "quantize")
        self.assertEqual([(row["network"], row["weight_bits"], row["mode"], row["weights"]) for row in found["results"]],
                         [("fmnist_resnet", 3, "squant-e", 146192), ("fmnist_mobilenet", 3, "squant-e", 136608)])
        for row in found["results"]:
            self.assertAlmostEqual(row["x_copy"], row["time_us"] / row["copy_us"])
        self.check_same_names(found, *arguments)

    def test_sweep(self):
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["sweep", small_experiment(pathlib.Path(folder)), "--images", "20", "--dir", folder]
            found = report(*arguments)
            self.check_context(found, "sweep")
            self.assertEqual([(row["bits"], row["images"]) for row in found["results"]], [("float", 20), ("w4a4", 20)])
            summary = found["summary"]
            self.assertEqual((summary["jobs"], summary["evaluations"], summary["ranks"]), (2, 40, 1))
            self.assertAlmostEqual(summary["evaluations_per_s"], 40 / summary["wall_s"])
            self.assertAlmostEqual(summary["compute_s"], sum(row["compute_ms"] for row in found["results"]) / 1000)
            self.check_same_names(found, *arguments)
            self.assertEqual(list(pathlib.Path(folder).glob("squant-bench-*")), [])  # nothing stays

    def test_a_sweep_that_cannot_be_is_answered_with_its_own_words(self):
        with tempfile.TemporaryDirectory() as folder:
            experiment = small_experiment(pathlib.Path(folder))
            pathlib.Path(folder, "labels").unlink()
            done = run("sweep", experiment, code=2)
            self.assertEqual(done.stdout, "")
            self.assertIn(f"{folder}/labels", done.stderr)

    def test_a_file_is_written_instead_of_standard_output(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "report.json")
            self.assertEqual(run(*EVALUATE, "--format", "json", "--output", file).stdout, "")
            self.assertEqual(len(json.loads(file.read_text())["results"]), 3)

    def test_wrong_use_is_answered_before_anything_is_measured(self):
        for wrong in (["--format", "xml"], ["--output", "/nonexistent/report"], ["--models", "resnet19"]):
            done = run(*EVALUATE[:1], *wrong, code=2)
            self.assertEqual(done.stdout, "")
            self.assertIn(wrong[1].removesuffix("/report"), done.stderr)


class GpuTest(ProgramTest):
    def setUp(self):
        if not OPTIONS.host_gpu:
            self.skipTest("this build has no CUDA")

    def test_evaluate(self):
        arguments = [*EVALUATE, "--gpu-only", "--batch", "4"]
        found = report(*arguments, host_gpu=True)
        self.assertTrue(found["context"]["gpu"])
        self.assertEqual([(row["engine"], row["images_from"], row["batch"]) for row in found["results"]],
                         [("gpu w4a4", "host", 4), ("gpu w4a4", "GPU", 4)])
        self.check_same_names(found, *arguments, host_gpu=True)

    def test_layers(self):
        arguments = ["layers", "--model", "fmnist_resnet", "--batch", "3", "--repeats", "2"]
        found = report(*arguments, host_gpu=True)
        self.check_context(found, "layers")
        layers = [row for row in found["results"] if row["name"]]
        self.assertEqual(len(layers), 10)
        self.assertTrue(all(row["macs"] > 0 for row in layers))
        self.assertAlmostEqual(sum(row["share_pct"] for row in found["results"]), 100)
        self.assertEqual(found["summary"]["batch"], 3)
        self.check_same_names(found, *arguments, host_gpu=True)

    def test_quantize(self):
        arguments = ["quantize", "--models", "fmnist_resnet", "--benchmark_filter=cuda"]
        found = report(*arguments, host_gpu=True)
        self.assertEqual([(row["mode"], row["computed_by"]) for row in found["results"]],
                         [("squant", "gpu"), ("squant-e", "gpu")])
        self.assertTrue(all(row["copy_us"] and row["cached_copy_us"] for row in found["results"]))
        self.check_same_names(found, *arguments, host_gpu=True)

    def test_without_a_gpu_a_line_says_so(self):
        done = run("layers", code=2)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, "^squant-bench: no GPU to measure: .*\n$")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--host-gpu", type=pathlib.Path)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[__file__, *rest])
