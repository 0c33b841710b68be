#!/usr/bin/env bash
# Man pages and completion of a program as built: groff has nothing to say against the page, and a real bash and a real zsh
# complete from the scripts. usage: manuals_test.sh SHARE_DIR
set -euo pipefail
share=$1
fail() { echo "FAILED: $*"; exit 1; }

# What bash offers for a command line whose last word is being typed.
bash_offers() { # SCRIPT WORD...
  bash --norc -c '
    source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
    spec=$(complete -p "$1"); function=${spec#*-F }; ${function%% *}
    printf "%s\n" "${COMPREPLY[@]}"' bash "$@" 2>&1
}
expect() { # EXPECTED SCRIPT WORD...
  local expected=$1 offered
  shift
  offered=$(bash_offers "$@" | tr '\n' ' ')
  [ "$offered" = "$expected " ] || fail "bash, ${*:2}: offered '$offered', expected '$expected'"
}
offers() { # WORD-THAT-MUST-BE-OFFERED SCRIPT WORD...
  local wanted=$1
  shift
  bash_offers "$@" | grep -qx -- "$wanted" || fail "bash, ${*:2}: '$wanted' is not offered"
}

results=$share/bash-completion/completions/squant-results
expect "show status" "$results" squant-results s
expect "junit" "$results" squant-results export --format ju
expect "junit" "$results" squant-results export --format = ju
expect "--where" "$results" squant-results --db x.sqlite show --w
expect "--where" "$results" squant-results --db = show show --w
offers --takeover "$results" squant-results merge --
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
touch "$folder/two words.sqlite"
expect "$folder/two words.sqlite" "$results" squant-results show --db "$folder/tw"
sweep=$share/bash-completion/completions/squant-sweep
if [ -e "$sweep" ]; then
  expect "auto cpu cuda" "$sweep" squant-sweep x.json --device ""
  expect "--dry-run" "$sweep" squant-sweep --dr
  expect "$folder/two words.sqlite" "$sweep" squant-sweep "$folder/"
fi

if command -v zsh >/dev/null; then
  for script in "$share"/zsh/site-functions/_*; do zsh -n "$script" || fail "zsh cannot parse $script"; done
  # A zsh behind a pseudo terminal, in which somebody types a word and Tab.
  offered=$(timeout 60 zsh -f -c '
    zmodload zsh/zpty
    zpty z zsh -f -i
    zpty -w z "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; print READY"
    zpty -r z out "*READY*READY*"
    zpty -w -n z "squant-results expo"$'"'\\t'"'"--form"$'"'\\t'"'"ju"$'"'\\t\\n'"'
    zpty -r z out "*junit*" && print -r -- "$out"' zsh "$share/zsh/site-functions" </dev/null 2>&1 || true)
  plain=$(sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' <<<"$offered" | tr -d '\r\b' | tr -s ' ')
  grep -Eq "export *--format *junit" <<<"$plain" || fail "zsh completed to: $offered"
else
  echo "SKIPPED: no zsh here; its completion was not tried"
fi

if command -v groff >/dev/null; then
  for page in "$share"/man/man1/*.1; do
    warnings=$(groff -man -ww -z -Tutf8 "$page" 2>&1)
    [ -z "$warnings" ] || fail "groff on $page: $warnings"
    text=$(groff -man -Tascii -P-cbou "$page")
    for heading in NAME SYNOPSIS DESCRIPTION OPTIONS; do
      grep -q "^$heading" <<<"$text" || fail "$page has no section $heading"
    done
  done
else
  echo "SKIPPED: no groff here; man pages were not formatted"
fi
echo "complete, and well-formed"
