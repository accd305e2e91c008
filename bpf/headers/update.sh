#!/bin/sh
# Refreshes headers/bpf from the Debian package libbpf-dev (LGPL-2.1 or BSD-2-Clause), pinned to one version.
set -eu
want=1:1.1.2-0+deb12u1
have=$(dpkg-query -W -f '${Version}' libbpf-dev)
[ "$have" = "$want" ] || { echo "update.sh: libbpf-dev is $have, wanted $want" >&2; exit 1; }
cd "$(dirname "$0")"
mkdir -p bpf
for h in bpf_helpers.h bpf_helper_defs.h bpf_endian.h; do
	cp "/usr/include/bpf/$h" bpf/
done
