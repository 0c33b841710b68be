#!/usr/bin/env python3
"""Every command of README.md and docs/ is run as it stands there, or named below with the reason why not.

usage: commands_test.py BUILD [--page README.md]... [--keep]

Each page gets a folder of its own with what its commands name: experiments/ (the quickstart on fewer images),
scripts/, build/, checkpoints, and the results database that the README's own first sweep left. Where a page shows
output, every line of it must come, in that order; times may be others, and what a sweep over fewer images finds. The
options that pages name must be options of ours or of a program named below. Exits 0, 1 with what is wrong, 77 where it
cannot run.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import typing

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pages  # noqa: E402

NUM_IMAGES = 60  # of the quickstart's 10,000
PROGRAMS = ["squant-sweep", "squant-results", "squant-quantize"]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "squant-sweep")
FASHION_MNIST = [pathlib.Path("/usr/share/datasets/fashion-mnist"), CACHE / "fashion-mnist"]
LITE0 = "efficientnet-lite0-57934424.pth"
TEST_DATA = pathlib.Path(os.environ.get("SQUANT_TEST_DATA") or "/nonexistent")
DRY_RUN = "squant-sweep experiments/table1.json --dry-run"


class NotRun(typing.NamedTuple):
    reason: str
    instead: str = ""  # a command that tries as much of it as can be tried
    unless: bool = False  # it can be run here after all


NOT_RUN = {
    "git clone ... && cd squant-sweep": NotRun("no address"),
    "make demo": NotRun("builds, and sweeps for a minute", "make -n demo BUILD=elsewhere"),
    "make test": NotRun("runs this test", "make -n test BUILD=elsewhere"),
    "cmake --preset release": NotRun("configures anew", "cmake --list-presets | grep -w release"),
    "cmake --build build": NotRun("builds", "test -e build/CMakeCache.txt"),
    # Not even `ctest -N`: it empties the log of the ctest that runs this.
    "ctest --test-dir build": NotRun("runs this test", "test -e build/CTestTestfile.cmake && ctest --help | grep -e --test-dir"),
    "scripts/fetch-models.sh": NotRun("downloads", "scripts/fetch-models.sh --print"),
    "scripts/fetch-models.sh --dir DIR resnet18":
        NotRun("downloads", "scripts/fetch-models.sh --print --dir DIR resnet18"),
    "SQUANT_DB=/scratch/me/results.sqlite sbatch --ntasks=9 --time=04:00:00 scripts/squant.sbatch experiments/table1.json":
        NotRun("needs Slurm (make test-slurm has one), and ImageNet", f"bash -n scripts/squant.sbatch && {DRY_RUN}"),
    "mpirun --enable-recovery -n 9 squant-sweep experiments/table1.json":
        NotRun("needs ImageNet", f"mpirun --enable-recovery -n 2 {DRY_RUN}"),
    "mpirun --enable-recovery -n 9 squant-sweep experiments/table1.json --db results.sqlite":
        NotRun("needs ImageNet", f"mpirun --enable-recovery -n 2 {DRY_RUN} --db results.sqlite"),
    "mpirun --enable-recovery -n 9 apptainer exec squant-sweep.sif squant-sweep experiments/table1.json":
        NotRun("needs Apptainer and ImageNet"),
    "ctest --test-dir build -L gpu --output-on-failure":
        NotRun("these tests run by themselves", "grep 'cuda_engine_test.*LABELS.*gpu' build/tests/eval/CTestTestfile.cmake"),
    "compute-sanitizer build/tests/quant_squant_cuda_test":
        NotRun("needs a GPU", "test ! -e build/tests/quant_squant_cuda_test"  # a build without CUDA
               " || build/tests/quant_squant_cuda_test --gtest_list_tests"),
    "compute-sanitizer build/tests/cuda_images_test":
        NotRun("needs a GPU", "build/tests/cuda_images_test --gtest_list_tests"),
    "compute-sanitizer --tool racecheck build/tests/cuda_images_test": NotRun("needs a GPU"),
    "build/bin/squant-bench quantize --benchmark_filter=cuda":
        NotRun("needs a GPU", "build/bin/squant-bench quantize --benchmark_list_tests"),
    "build/bin/squant-bench layers --model resnet50 --bits 4": NotRun("needs a GPU"),
    "build/bin/squant-bench evaluate --gpu-only --models resnet18,resnet50 --images 4096":
        NotRun("needs a GPU", "build/bin/squant-bench evaluate --models fmnist_resnet --images 4"),
    # What the page then compares: here the CPU with itself.
    "mpirun -np 1 build/bin/squant-sweep experiments/quickstart.json --device cuda --db cuda.db":
        NotRun("needs a GPU", "mpirun -np 1 build/bin/squant-sweep experiments/quickstart.json --device cpu --db cuda.db"),
    f"squant-quantize {LITE0} lite0-w4.safetensors":
        NotRun("needs the checkpoint, of SQUANT_TEST_DATA", unless=(TEST_DATA / "models" / LITE0).exists()),
    "man -l build/share/man/man1/squant-results.1":
        NotRun("needs man", "test -s build/share/man/man1/squant-results.1", unless=bool(shutil.which("man"))),
}

# Long options of others that pages name.
FOREIGN_OPTIONS = {
    "mpirun": ["--enable-recovery", "--bind-to", "--continuous"],
    "Slurm": ["--ntasks", "--time", "--signal", "--requeue", "--mpi"],
    "pip": ["--no-deps", "--target"],
    "cmake, ctest, GoogleTest": ["--preset", "--build", "--test-dir", "--output-on-failure", "--gtest_filter"],
    "scripts/fetch-models.sh": ["--print", "--dir"],
    "Google Benchmark": ["--benchmark_filter"],
    "CUDA's tools": ["--tool", "--stats", "--set"],
}


class Failed(Exception):
    pass


def shape_of(line, is_sweep):
    """What of a line of output is the same in every run: no times, no widths; of a sweep over fewer images no figures
    either, and no verdict."""
    line = re.sub(r"\b(\d+ (h|min) )?[\d.]+ (ms|s|min)\b", "TIME", line)
    line = " ".join(re.sub(r"-{2,}", "--", line).split())
    if not is_sweep:
        return line
    line = re.sub(r"(?<![\w.])[+-]?\d[\d,.]*(?![\w])", "#", line)
    line = re.sub(r"\b(pass|inconclusive)\b", "VERDICT", line)
    return re.sub(r"# VERDICT(, # VERDICT)*", "# VERDICT", line)


def check_output(command, output):
    """Every shown line, in order; `...` stands for any number of lines."""
    lines = iter(output.splitlines())
    is_sweep = "squant-sweep" in command.text
    for shown in command.shown:
        if shown == "..." or any(shape_of(line, is_sweep) == shape_of(shown, is_sweep) for line in lines):
            continue
        raise Failed(f"the page shows the line\n  {shown}\nwhich does not come after those before it in\n{output}")


class Bench:
    """Runs commands in a folder of one page."""

    def __init__(self, build, scratch):
        self.build, self.scratch, self.database = build, scratch, None
        self.environment = dict(os.environ, PATH=f"{build}/bin:{os.environ['PATH']}", MANPAGER="cat",
                                IMAGENET_VAL="/nonexistent/val", SQUANT_MODELS="/nonexistent/models")

    def folder_for(self, page):
        folder = self.scratch / page.replace("/", "_")
        folder.mkdir()
        for name in ("scripts", "Makefile", "CMakePresets.json", "CMakeLists.txt"):
            (folder / name).symlink_to(pages.ROOT / name)
        (folder / "build").symlink_to(self.build)
        shutil.copytree(pages.ROOT / "experiments", folder / "experiments")
        quickstart = folder / "experiments/quickstart.json"
        experiment = json.loads(quickstart.read_text())
        experiment["dataset"]["num_images"] = NUM_IMAGES
        experiment["tolerance"] = 30  # a verdict on so few images may be anything else
        quickstart.write_text(json.dumps(experiment))
        shutil.copy(pages.ROOT / "experiments/quickstart/fmnist_resnet.safetensors", folder / "model.safetensors")
        shutil.copy(pages.ROOT / "tests/data/checkpoints/dict_zip.pth", folder / "model.pth")
        if (TEST_DATA / "models" / LITE0).exists():
            (folder / LITE0).symlink_to(TEST_DATA / "models" / LITE0)
        if self.database and page != "docs/running.md":  # which begins with a sweep of its own
            shutil.copy(self.database, folder / "results.sqlite")
        return folder

    def run(self, text, folder, code=0):
        """What `text` prints, standard error after standard output."""
        done = subprocess.run(["bash", "-c", f". scripts/mpi-env.sh\n{text}"], cwd=folder, env=self.environment,
                              text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        if done.returncode != code:
            raise Failed(f"exit code {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def check(self, command, folder):
        """Runs a page's command, or what is to be tried in its place; says which."""
        exception = NOT_RUN.get(command.text)
        if not exception or exception.unless:
            check_output(command, self.run(command.text, folder))
            return "run"
        if exception.instead:
            self.run(exception.instead, folder)
        return f"not run, {exception.reason}" + (f"; instead: {exception.instead}" if exception.instead else "")

    def check_page(self, page, commands):
        folder = self.folder_for(page)
        problems = check_experiment(self, folder) if page == "docs/experiments.md" else []
        for command in commands:
            try:
                print(f"{command.place}: {command.text}\n    {self.check(command, folder)}", flush=True)
            except (Failed, subprocess.TimeoutExpired) as problem:
                problems.append(f"{command.place}: {command.text}\n{problem}")
        if page == "README.md":
            self.database = folder / "results.sqlite"
        return problems


def check_experiment(bench, folder):
    """docs/experiments.md: leaves its experiment for the commands; its two mistakes are answered as shown."""
    blocks = [block for block in pages.all_blocks() if block.page == "docs/experiments.md"]
    (text,) = ["\n".join(block.lines) for block in blocks if block.language == "json"]
    (shown,) = [block.lines for block in blocks if "my-sweep.json:" in block.lines[0] and not block.language]
    experiment = folder / "my-sweep.json"
    experiment.write_text(text.replace('"bits": ["', '"bist": ["').replace('"squant"]', '"squnt"]'))
    said = bench.run("squant-sweep my-sweep.json --dry-run", folder, code=2)
    experiment.write_text(text)
    shutil.copytree(pages.ROOT / "experiments/paper", folder / "paper")
    if "\n6 jobs:" not in bench.run("squant-sweep my-sweep.json --dry-run", folder):
        return ["docs/experiments.md calls its experiment six jobs, but it has another number"]
    return [f"docs/experiments.md shows the line\n  {line}\nwhich does not come in\n{said}"
            for line in shown if line not in said.splitlines()]


def check_list(commands):
    texts = {command.text for command in commands}
    return [f"{pathlib.Path(__file__).name}: no page has the command any more: {text}"
            for text in NOT_RUN if text not in texts]


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*[a-z]", text))


def printed_by(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def manual_of(program, build):
    """Its man page without roff's fonts and escapes: the options of all subcommands are in it."""
    return re.sub(r"\\f[BIRP]", "", printed_by(f"{build}/bin/{program}", "--print-man")).replace("\\-", "-")


def bench_help(build, *subcommand):
    return printed_by(f"{build}/bin/squant-bench", *subcommand, "--help")


def subcommands_of_bench(build):
    return re.findall(r"^  (\w+)  ", bench_help(build), re.M)


def check_options(build):
    """An option that a page names, in a command or in a sentence, is one."""
    texts = [manual_of(program, build) for program in PROGRAMS]
    texts += [bench_help(build, subcommand) for subcommand in subcommands_of_bench(build)]
    known = {option for text in texts for option in options_in(text)}
    known |= {option for options in FOREIGN_OPTIONS.values() for option in options}
    return [f"{page.relative_to(pages.ROOT)}:{number}: no program has the option {option}"
            for page in pages.PAGES for number, line in enumerate(page.read_text().splitlines(), 1)
            for option in sorted(options_in(line) - known)]


def check_spans(build):
    """Commands within sentences: the program, its subcommand and its options are there; `make` has the target."""
    problems = []
    words_after = {
        "squant-results": re.findall(r"^\.SS (\S+)", manual_of("squant-results", build), re.M),
        "squant-bench": subcommands_of_bench(build),
        "make": re.findall(r"^([\w-]+):", (pages.ROOT / "Makefile").read_text(), re.M),
    }
    for page in pages.PAGES:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for span in re.findall(r"`([^`]+)`", line):
                first, *rest = span.split() or [""]
                unknown = first in words_after and rest and rest[0][0] != "-" and rest[0] not in words_after[first]
                missing = re.match(r"scripts/[\w.-]+$", first) and not (pages.ROOT / first).exists()
                if unknown or missing:
                    problems.append(f"{page.relative_to(pages.ROOT)}:{number}: `{span}`: there is no such thing")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--page", action="append", help="only these (and the README, whose sweep the others use)")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    if not (options.build / "bin/squant-bench").exists():
        print("SKIPPED: squant-bench was not built (SQUANT_BENCH); the docs' commands were not run")
        sys.exit(77)
    if not any((folder / "t10k-images-idx3-ubyte.gz").exists() for folder in FASHION_MNIST):
        print("SKIPPED: Fashion-MNIST is not here (scripts/fetch-fashion-mnist.sh gets it); the docs' commands were not run")
        sys.exit(77)
    commands = [command for block in pages.all_blocks() for command in pages.commands_of(block)]
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="squant-docs-"))
    try:
        bench = Bench(options.build.resolve(), scratch)
        problems = check_list(commands) + check_options(bench.build) + check_spans(bench.build)
        for page in dict.fromkeys(command.page for command in commands):
            if not options.page or page in [*options.page, "README.md"]:
                problems += bench.check_page(page, [command for command in commands if command.page == page])
    finally:
        if not options.keep:
            shutil.rmtree(scratch)
    print("\n".join(problems) or f"{len(commands)} commands of {len(pages.PAGES)} pages")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
