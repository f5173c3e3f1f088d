#!/bin/sh
# Builds herojobs-rhai and installs it into a Python environment; does nothing when nothing changed.
#
# usage: rhai/build.sh [PYTHON]
#   PYTHON                  the environment's interpreter (default: .venv/bin/python of the repository)
#   HEROJOBS_RHAI_PROFILE   cargo profile: release (default, whole-program optimisation, minutes) or fast
#   CARGO_TARGET_DIR        where cargo keeps what it built (default: rhai/target)
#
# Where cargo isn't installed it says so and succeeds: all else of HeroJobs works without this package.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${1:-"$here/../.venv/bin/python"}
profile=${HEROJOBS_RHAI_PROFILE:-release}
target=${CARGO_TARGET_DIR:-"$here/target"}

command -v cargo >/dev/null 2>&1 || PATH="$HOME/.cargo/bin:$PATH"
if ! command -v cargo >/dev/null 2>&1; then
    echo "herojobs-rhai: not built, cargo isn't installed (Rhai jobs will end as errors that say so)"
    exit 0
fi
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
bin=$(dirname "$python")

sum() { if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi; }
stamp="$target/installed-$(printf '%s' "$python" | sum | cut -c1-16)"
state=$(
    cd "$here"
    {
        find Cargo.toml pyproject.toml README.md src python -type f ! -name '*.py[co]' | LC_ALL=C sort |
            while read -r file; do
                printf '%s\n' "$file"
                cat "$file"
            done
        rustc --version
        printf '%s\n' "$profile"
    } | sum | cut -c1-64
)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ] && "$python" -c 'import herojobs_rhai' 2>/dev/null; then
    echo "herojobs-rhai: up to date in $bin"
    exit 0
fi

if [ -x "$bin/maturin" ]; then
    maturin="$bin/maturin"
elif command -v maturin >/dev/null 2>&1; then
    maturin=maturin
else
    echo "herojobs-rhai: maturin isn't there; install it: $python -m pip install 'maturin>=1.9.4,<2'" >&2
    exit 1
fi

echo "herojobs-rhai: building ($profile) and installing into $bin"
wheels="$target/wheels"
mkdir -p "$wheels"
rm -f "$stamp" "$wheels"/*.whl
log="$target/build.log"
if ! (cd "$here" && CARGO_TARGET_DIR="$target" "$maturin" build -q --profile "$profile" -i "$python" -o "$wheels") >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
if [ -x "$bin/uv" ]; then
    "$bin/uv" pip install -q --python "$python" --no-deps --reinstall "$wheels"/*.whl
elif command -v uv >/dev/null 2>&1; then
    uv pip install -q --python "$python" --no-deps --reinstall "$wheels"/*.whl
else
    "$python" -m pip install -q --no-deps --force-reinstall "$wheels"/*.whl
fi
printf '%s' "$state" >"$stamp"
