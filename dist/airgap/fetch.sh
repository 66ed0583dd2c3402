#!/bin/sh
# On the side with a network: fetches the charts and their images, and fills in images.txt. Needs helm and skopeo.
set -eu
cd "$(dirname "$0")"
rm -rf charts.yaml images ./*.tgz
# As in out/INSTALL.md.
{fetch}
test -s images.txt
mkdir images
while read -r image; do
  skopeo copy --all "docker://$image" "oci-archive:images/$(printf %s "${image%@*}" | tr / _).tar"
done < images.txt
cd ..
find . -type f ! -path './SHA256SUMS*' | sed 's|^\./||' | LC_ALL=C sort | while read -r file; do sha256sum "$file"; done > SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
