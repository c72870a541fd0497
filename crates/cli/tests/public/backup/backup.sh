#!/bin/bash
# Packs a folder and says what it packed, as JSON.
set -euo pipefail

pack() {
    local folder=$1 archive=$2
    tar -C "$folder" -cf - . | zstd -q -o "$archive"
    jq -n --arg folder "$folder" --argjson files "$(find "$folder" -type f | wc -l)" '{folder: $folder, files: $files}'
}

if [[ ${1:-} == --self-test ]]; then
    room=$(mktemp -d)
    trap 'rm -rf "$room"' EXIT
    mkdir "$room/data"
    touch "$room"/data/{one,two,three}
    [[ $(pack "$room/data" "$room/archive" | jq .files) == 3 ]]
    [[ $(zstd -qdc "$room/archive" | tar -t | grep -c '[a-z]$') == 3 ]]
    echo "self-test passed"
else
    pack "$1" "/var/backups/$(basename "$1").tar.zst"
fi
