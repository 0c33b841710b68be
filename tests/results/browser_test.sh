#!/usr/bin/env bash
# The report in a real browser: it is drawn, nothing is written to the console, nothing is asked of any network.
# usage: browser_test.sh PROGRAM DATABASE_MAKER
set -euo pipefail
program=$1 maker=$2
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "SKIPPED: no chromium here (apt-get install chromium); the report was not looked at in a browser"
  exit 77
fi
fail() { echo "FAILED: $*"; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$maker" "$scratch/results.sqlite"
"$program" report --db "$scratch/results.sqlite" --out "$scratch/report.html"

# A page that does what must be noticed: else silence would prove nothing.
sed 's|<meta http-equiv[^>]*>||; s|</body>|<img src="http://tracker.invalid/x.png" alt=""/><script>console.error("noticed")</script></body>|' \
  "$scratch/report.html" >"$scratch/bad.html"

visit() { # PAGE: what the browser logs, the requests of its network stack among it
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --no-first-run --disable-extensions \
    --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$scratch/profile" \
    --window-size=1280,1000 --hide-scrollbars --enable-logging=stderr --v=0 --host-resolver-rules="MAP * ~NOTFOUND" \
    --log-net-log="$scratch/net.json" --screenshot="$scratch/page.png" "file://$1" >"$scratch/log" 2>&1 ||
    fail "the browser: $(tail -5 "$scratch/log")"
  grep 'CONSOLE' "$scratch/log" || true
}
requests() { grep -oE '"url": *"(https?|wss?)://[^"]*' "$scratch/net.json" | grep -vE 'google|gstatic|chrom' | sort -u || true; }

noticed=$(visit "$scratch/bad.html")
grep -q noticed <<<"$noticed" || fail "a console error would not be noticed: $(tail -3 "$scratch/log")"
[ -n "$(requests)" ] || fail "a request would not be noticed"
rm -f "$scratch/net.json" "$scratch/page.png"

messages=$(visit "$scratch/report.html")
[ -z "$messages" ] || fail "the console says: $messages"
[ -z "$(requests)" ] || fail "the page asks for $(requests)"
size=$(stat -c %s "$scratch/page.png")
[ "$size" -gt 20000 ] || fail "the screenshot has $size bytes: an empty page?"
echo "drawn in $size bytes, no message, no request"
