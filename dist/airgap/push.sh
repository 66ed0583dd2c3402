#!/bin/sh
# push.sh MIRROR: on the side without a network, copies the images into its registry, such as registry.example:5000/mirror. Needs skopeo.
set -eu
mirror=${1:?which registry}
cd "$(dirname "$0")"
while read -r image; do
  name=${image%@*}
  skopeo copy --all "oci-archive:images/$(printf %s "$name" | tr / _).tar" "docker://$mirror/${name#*/}"
done < images.txt
