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
has_header png.h || missing="$missing libpng-dev"
# jpeglib.h uses FILE and size_t without including what has them.
printf '#include <stddef.h>\n#include <stdio.h>\n#include <jpeglib.h>\n' |
  "$abn_clang" -fsyntax-only -xc - >/dev/null 2>&1 || missing="$missing libjpeg-dev"

if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 ||
    fail "missing:$missing (Debian's names). This system has no apt: install oneDNN (2.6 or 3.x), zlib, libpng and libjpeg-turbo with their headers, then run this again"
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

# has_option NAME: whether this script, run by itself, was given the option.
has_option() {
  [ "$(basename "$0")" = setup.sh ] || return 1
  case " $abn_options " in *" $1 "*) return 0 ;; esac
  return 1
}
abn_options="$*"

# scripts/setup.sh --browser, run by itself: Chromium, for the tests that open the pages of this package.
# Where it cannot be had, those tests say so and are left out.
if has_option --browser && ! command -v chromium >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ]; then abn_root=""; else abn_root="sudo"; fi
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  { $abn_root apt-get install -y -qq chromium >/dev/null 2>&1 ||
    { $abn_root apt-get update -qq && $abn_root apt-get install -y -qq chromium >/dev/null; }; } &&
    echo "installed chromium" ||
    echo "setup.sh: chromium could not be had; pages are not opened" >&2
fi

# scripts/setup.sh --cuda, run by itself: NVIDIA's run-time compiler, which needs no card, for the test
# that compiles all kernels. Where it cannot be had, that test says so and is left out.
if has_option --cuda; then
  abn_nvrtc=.build/cuda/nvrtc
  if [ ! -e "$abn_nvrtc/libnvrtc.so.13" ]; then
    abn_part=$(mktemp -d) || fail "no temporary folder"
    if python3 -m pip download -q --no-deps --dest "$abn_part" 'nvidia-cuda-nvrtc>=13,<14' &&
      python3 -m zipfile -e "$abn_part"/nvidia_cuda_nvrtc-*.whl "$abn_part/wheel"; then
      mkdir -p "$abn_nvrtc"
      # The compiler last: it marks the folder as whole.
      mv "$abn_part"/wheel/nvidia/*/lib/libnvrtc-builtins.so.* "$abn_nvrtc"/ &&
        mv "$abn_part"/wheel/nvidia/*/lib/libnvrtc.so.13 "$abn_nvrtc"/ &&
        echo "installed NVRTC in $abn_nvrtc"
    else
      echo "setup.sh: the wheel nvidia-cuda-nvrtc could not be had; kernels are not compiled for cards" >&2
    fi
    rm -rf "$abn_part"
  fi
fi
