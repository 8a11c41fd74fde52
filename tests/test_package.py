# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What is shipped, and which part of the package may import which."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyro_hypergeo"

# What each part may import beside the standard library: infer -> distributions -> ops.
OPS = {"numpy", "torch", "pyro_hypergeo.ops"}
DISTRIBUTIONS = OPS | {"pyro", "scipy", "pyro_hypergeo.distributions"}
INFER = DISTRIBUTIONS | {"pyro_hypergeo.infer"}
CLI = INFER | {"matplotlib", "tqdm", "xarray", "pyro_hypergeo.cli", "pyro_hypergeo.datasets"}
LAYERS = {
    "ops": OPS,
    "distributions": DISTRIBUTIONS,
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


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_imports_only_what_lies_below(layer: str) -> None:
    allowed = LAYERS[layer] | set(sys.stdlib_module_names)
    files = sorted((PACKAGE / layer).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted(imports(file))
        if not any(f"{name}.".startswith(f"{module}.") for module in allowed)
    ]
    assert not wrong, "\n".join(wrong)
