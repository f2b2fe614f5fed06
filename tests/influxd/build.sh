#!/bin/sh
# Builds InfluxDB 2 from the Go module proxy, where it is not built yet: tests/influxd/build.sh [FILE]
# Without FILE it goes into the cache folder, where the tests look for it. Needs Go 1.23 or newer, Rust (cargo) and a C
# compiler; about 5 minutes and 3 GB of caches, once a machine.
set -eu

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
version=$(sed -n 's#.*influxdata/influxdb/v2 v##p' "$here/go.mod")
target=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/callgauge/influxd/influxd-$version}
if [ -x "$target" ]; then exit 0; fi
for command in go cargo cc; do
    command -v "$command" >/dev/null 2>&1 || { echo "building influxd needs $command" >&2; exit 3; }
done

mkdir -p "$(dirname "$target")"
# One build at a time: whoever comes second finds it made.
exec 9>"$target.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ -x "$target" ]; then exit 0; fi

scratch=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM
# The Go parts of InfluxDB find flux, which is Rust behind cgo, by this pkg-config alone: it builds it, too.
GOBIN=$scratch/bin go install github.com/influxdata/pkg-config@v0.3.0
# flux denies warnings, and newer compilers have more of them. RUSTFLAGS would not reach what runs on the host.
cat >"$scratch/rustc" <<'WRAPPER'
#!/bin/sh
case " $* " in *" --cap-lints"*) exec "$@" ;; *) exec "$@" --cap-lints warn ;; esac
WRAPPER
chmod +x "$scratch/rustc"
cp "$here/main.go" "$here/go.mod" "$here/go.sum" "$scratch/"
cd "$scratch"
# flux names a toolchain of its own: RUSTUP_TOOLCHAIN keeps it from being fetched.
PKG_CONFIG=$scratch/bin/pkg-config RUSTC_WRAPPER=$scratch/rustc RUSTUP_TOOLCHAIN=stable CGO_ENABLED=1 \
    go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=v$version" -o influxd .
mv influxd "$target"
