#!/usr/bin/env bash
# Usage: [PYTHON=python3] tools/install_detectron2.sh [--pypi]
# Installs detectron2, which is not on PyPI under its own name: from its repository, or, with --pypi
# or where that cannot be reached or built, the Python part of a build on PyPI (detectron2 of
# November 2024). That part is enough for R50-C4 and FPN, which use torchvision's operators.
set -euo pipefail

PYTHON=${PYTHON:-python}
REPOSITORY=https://github.com/facebookresearch/detectron2.git
ROOT="$(cd "$(dirname "$0")/.." && pwd)"
PIP=("$PYTHON" -m pip install --disable-pip-version-check -c "$ROOT/constraints.txt")

from_repository() {
    GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet --exit-code "$REPOSITORY" HEAD >/dev/null &&
        "$PYTHON" -m pip uninstall --yes sal-detectron2 &&
        "${PIP[@]}" setuptools wheel &&
        # --no-deps: it asks for numpy<2, but runs on numpy 2.
        "${PIP[@]}" --no-deps --no-build-isolation "git+$REPOSITORY"
}

from_pypi() {
    local folder site
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # Its wheel is tagged for Python 3.10, but only its compiled part, which is left out, needs that.
    "${PIP[@]}" --target "$folder" --no-deps --only-binary=:all: --implementation cp \
        --python-version 3.10 --abi none --platform any sal-detectron2==0.7.2
    # Its top-level package `tools` would hide any folder of that name.
    rm -rf "$folder/tools" "$folder"/detectron2/_C.*.so
    sed -i -e '/^tools\//d' -e '/^detectron2\/_C\./d' "$folder"/sal_detectron2-*.dist-info/RECORD
    cp -r "$folder"/. "$site"
}

"${PIP[@]}" -r "$ROOT/requirements-detection.txt"
if [ "${1:-}" = --pypi ] || ! from_repository; then
    from_pypi
fi
"$PYTHON" -c 'import detectron2; print("detectron2", detectron2.__version__, "in", detectron2.__path__[0])'
