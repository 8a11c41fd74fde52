# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What the package ships, and which of its parts may import which."""

import ast
import importlib
import inspect
import os
import pydoc
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import pyro_hypergeo
from pyro_hypergeo import ops
from pyro_hypergeo.ops import former_paths

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyro_hypergeo"

# What each part may import beside the standard library: infer -> distributions -> ops.
# Tables are files and names: they need no distribution. Inference and the command may use them.
# (The storeys inside of ops follow below.)
OPS = {"numpy", "torch", "pyro_hypergeo.ops"}
DISTRIBUTIONS = OPS | {"pyro", "scipy", "pyro_hypergeo.distributions"}
TABLES = {"numpy", "torch", "pyro_hypergeo.tables", "pyro_hypergeo.ops.errors"}
INFER = DISTRIBUTIONS | {"pyro_hypergeo.infer", "pyro_hypergeo.tables"}
CLI = INFER | {"formulaic", "matplotlib", "pandas", "tqdm", "xarray", "pyro_hypergeo.cli"}
CLI |= {"pyro_hypergeo.datasets", "pyro_hypergeo.__version__"}
LAYERS = {
    "ops": OPS,
    "distributions": DISTRIBUTIONS,
    "tables": TABLES,
    "infer": INFER,
    "cli": CLI,
    "datasets": set(),
}


def run(*arguments: object, **kwargs: object) -> str:
    """Run Python with these arguments; return its output, or fail with it."""
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **kwargs,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution, without the network."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    folders = {name.split("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"pyro_hypergeo"}
    wanted = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.csv"), PACKAGE / "py.typed"]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names


@pytest.mark.slow
def test_wheel_runs_away_from_the_source(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps")
    run(*pip, "--target", target, wheel)
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(target)}}
    path = "import pyro_hypergeo.datasets as d; print(d.path('titanic.csv'))"
    assert Path(run("-c", path, **where).strip()).is_relative_to(target)
    assert "usage" in run("-m", "pyro_hypergeo", "--help", **where).lower()
    assert run(target / "bin" / "pyro-hypergeo", "--help", **where).startswith(
        "usage: pyro-hypergeo"
    )


def imports(file: Path) -> set[str]:
    """The modules that a file names in its import statements, absolute, wherever they stand."""
    package = file.relative_to(ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += [node.module] if node.module else []
            # `from package import module` names a module, so keep what is imported too.
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def wrong_imports(files: list[Path], allowed: set[str]) -> str:
    assert files
    return "\n".join(
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted(imports(file))
        if not any(f"{name}.".startswith(f"{module}.") for module in allowed)
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_imports_only_what_lies_below(layer: str) -> None:
    allowed = LAYERS[layer] | set(sys.stdlib_module_names)
    assert not wrong_imports(sorted((PACKAGE / layer).rglob("*.py")), allowed)


# The storeys of ops, from the ground up: a room may import itself and what stands below it.
GROUND = [
    "autograd",
    "binomial",
    "count_table",
    "errors",
    "inverse_cdf",
    "log_convolution",
    "mean_inversion",
    "mode_by_exchange",
    "support",
    "tracing",
    "urn",
    "zero_sum",
]
STOREYS = {
    "ground": GROUND,
    "saddlepoint": ["saddlepoint", *GROUND],
    "law": ["law", "saddlepoint", *GROUND],
    "fisher": ["fisher", "law", "saddlepoint", *GROUND],
    "wallenius": ["wallenius", "law", "saddlepoint", *GROUND],
    "gradients": ["gradients", "fisher", "wallenius", "law", "saddlepoint", *GROUND],
    "partitions": ["partitions", "fisher", "wallenius", "law", "saddlepoint", *GROUND],
}


@pytest.mark.parametrize("storey", STOREYS)
def test_storey_imports_only_what_stands_below(storey: str) -> None:
    ops = PACKAGE / "ops"
    if storey == "ground":
        files = [ops / f"{name}.py" for name in GROUND]
    else:
        files = sorted((ops / storey).rglob("*.py"))
    allowed = {f"pyro_hypergeo.ops.{name}" for name in STOREYS[storey]}
    allowed |= {"numpy", "torch"} | set(sys.stdlib_module_names)
    assert not wrong_imports(files, allowed)


def test_every_file_of_ops_has_a_storey() -> None:
    files = {path.name.removesuffix(".py") for path in (PACKAGE / "ops").iterdir()}
    assert files - {"__pycache__"} == {*GROUND, *STOREYS, "__init__", "former_paths"} - {"ground"}
    assert len(list((PACKAGE / "ops").glob("*.py"))) <= 14


def modules() -> list[str]:
    files = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_every_module_imports_alone() -> None:
    """Whichever module comes first: the packages that hold it have imported nothing before it."""
    # One process is faster than many. Before each import, the package is forgotten again.
    code = f"""
import importlib, sys, types
import pyro_hypergeo
for name in {modules()!r}:
    for loaded in [n for n in sys.modules if n.split(".")[0] == "pyro_hypergeo"]:
        del sys.modules[loaded]
    parts = name.split(".")
    for i in range(1, len(parts)):
        package = types.ModuleType(".".join(parts[:i]))
        package.__path__ = ["/".join([{str(ROOT)!r}, *parts[:i]])]
        package.__version__ = pyro_hypergeo.__version__
        sys.modules[package.__name__] = package
    assert importlib.import_module(name).__name__ == name, name
"""
    run("-c", code)


@pytest.mark.slow
def test_scipy_is_imported_only_where_it_is_used() -> None:
    """It takes as long to import as Pyro and the package together."""
    run("-c", "import sys, pyro_hypergeo; assert 'scipy' not in sys.modules")


def test_public_names_are_listed_and_are_all_there_is() -> None:
    given = {name for name in vars(pyro_hypergeo) if not name.startswith("_")}
    modules = {name for name in given if inspect.ismodule(vars(pyro_hypergeo)[name])}
    assert set(pyro_hypergeo.__all__) == (given - modules) | {"datasets", "__version__"}
    for name in ("FisherHypergeometric", "fit_weights"):
        assert f" {name}(" in pydoc.render_doc(pyro_hypergeo, renderer=pydoc.plaintext)


def test_module_paths_of_the_first_version_still_lead_to_their_names() -> None:
    for path, name in [
        ("suffix", "log_suffix_partitions"),
        ("latent_counts", "log_evidence"),
        ("windows", "entropy"),
        ("relaxed", "relaxed_sample"),
        ("encodings", "counts_to_mask"),
        ("from_mean", "wallenius_log_weights_from_mean"),
        ("log_prob", "log_prob"),
        ("wallenius", "wallenius_log_prob"),
        ("wallenius_gradient", "wallenius_mean_gradient"),
        ("zero_sum", "zero_sum_vector"),
    ]:
        module = importlib.import_module(f"pyro_hypergeo.ops.{path}")
        assert getattr(module, name) is getattr(ops, name)
    for path in former_paths.FORMER:
        importlib.import_module(f"pyro_hypergeo.ops.{path}")
    assert ops.suffix.log_suffix_partitions is ops.log_suffix_partitions
    assert callable(ops.mode)


# Private names of torch and Pyro that a subclass of theirs has to use.
OF_LIBRARIES = {
    "_validate_args", "_validate_sample", "_get_checked_instance", "_C", "_functorch", "_model",
    "_process_message", "_setup_prototype", "_prototype_frames", "_create_plates", "_pyro_sample",
    "_replace", "_extended_shape", "_is_all_true",
}  # fmt: skip


def private_names(file: Path) -> tuple[set[str], set[str]]:
    """The private names that a file defines, and the private names of other files that it uses."""
    defined, used = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            used |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    return defined, private - OF_LIBRARIES


def test_no_module_uses_a_private_name_of_another() -> None:
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        defined, used = private_names(file)
        wrong += [f"{file.relative_to(ROOT)} uses {name}" for name in sorted(used - defined)]
    assert not wrong, "\n".join(wrong)


def test_no_file_is_long() -> None:
    for file in [*PACKAGE.rglob("*.py")]:
        assert len(file.read_text(encoding="utf-8").splitlines()) < 300, file
