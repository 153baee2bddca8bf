# What the other scripts need on the machine; sourced, not run. Plain POSIX shell.
# Installs what is missing of the system libraries, by apt, and says so where it cannot.

cd "$(dirname "$0")/.." || exit 1

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

command -v swift >/dev/null 2>&1 ||
  fail "no 'swift' on the PATH: install the Swift toolchain 6.2 or later (https://swift.org/install)"

# The toolchain's own clang, so that the check sees what the build will see.
abn_clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
[ -x "$abn_clang" ] || abn_clang=clang

# has_header HEADER: whether C code can include it.
has_header() {
  echo "#include <$1>" | "$abn_clang" -fsyntax-only -xc - >/dev/null 2>&1
}

missing=""
has_header oneapi/dnnl/dnnl.h || missing="$missing libdnnl-dev"
has_header zlib.h || missing="$missing zlib1g-dev"

if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 ||
    fail "missing:$missing (Debian's names). This system has no apt: install oneDNN (2.6 or 3.x) and zlib with their headers, then run this again"
  if [ "$(id -u)" = 0 ]; then
    as_root=""
  elif command -v sudo >/dev/null 2>&1; then
    as_root="sudo"
  else
    fail "missing:$missing. Run as root: apt-get install$missing"
  fi
  echo "installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  $as_root apt-get install -y -qq $missing >/dev/null 2>&1 ||
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq $missing >/dev/null; } ||
    fail "apt-get could not install:$missing"
fi
