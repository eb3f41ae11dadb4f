#!/bin/sh
# Builds the BPF programs, or with --check compares them with the committed objects, byte for byte.
#
# The objects are in the repository, so nobody needs a compiler to run smartwire. They were built with clang 14 (Debian
# 12); another version makes other bytes, which may do for use but not for --check.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang}

die() {
	echo "bpf/build.sh: $*" >&2
	exit 2
}

command -v "$CLANG" >/dev/null 2>&1 || die "no $CLANG here; install it with \`apt install clang\` (or set CLANG)."
headers=/usr/include/$(uname -m)-linux-gnu
for header in linux/bpf.h bpf/bpf_helpers.h "$headers/asm/types.h"; do
	case $header in /*) path=$header ;; *) path=/usr/include/$header ;; esac
	[ -e "$path" ] || die "no $path here; install it with \`apt install libbpf-dev linux-libc-dev\`."
done

build() {
	# No debug information and no paths: the same source gives the same bytes wherever it lies.
	"$CLANG" -O2 -g0 -Wall -Wextra -Werror -target bpf -mcpu=v3 -fno-ident -I"$headers" -c "$1" -o "$2" ||
		die "$1 does not compile."
}

case ${1:-} in
"")
	for source in *.bpf.c; do
		build "$source" "${source%.c}.o"
	done
	;;
--check)
	version=$("$CLANG" -dumpversion)
	case $version in
	14.*) ;;
	*) die "clang $version makes other bytes than the committed objects' clang 14; set CLANG=clang-14 for --check." ;;
	esac
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
	for source in *.bpf.c; do
		object=${source%.c}.o
		build "$source" "$out/$object"
		cmp -s "$object" "$out/$object" || {
			echo "bpf/build.sh: $object is not what $source builds to; run bpf/build.sh and commit it." >&2
			exit 1
		}
	done
	;;
*) die "usage: bpf/build.sh [--check]" ;;
esac
