#!/usr/bin/env bash
# Two tables from what the test runner printed: the lines of the protocols, and the clients that must work.
#
#   scripts/conformance.sh OUTPUT [NOTES]    the runner's output; what tests noted, as lines "test<TAB>text"
#
# Lines are those of docs/protocols.md, as "- S5: …"; their tests are those whose names begin with them, as
# s05_… or s04_s20_…. Clients are the rows of tests/clients/matrix.txt, which name their tests. Fails if a
# line or a row has no test, or one that did not pass.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

output=$1
notes=${2:-/dev/null}

# Both tables know the results first: "test PATH ... ok" to result[PATH], by the last part of the path too.
# shellcheck disable=SC2016 # awk's own variables
results='
    function read_results(file,    fields, count, line) {
        while ((getline line < file) > 0) {
            if (line !~ /^test .* \.\.\. (ok|FAILED|ignored)/) continue
            count = split(line, fields, " ")
            path = fields[2]
            result[path] = line ~ /\.\.\. ok/ ? "ok" : "FAILED"
            name = path; sub(/.*::/, "", name)
            if (result[name] != "FAILED") result[name] = result[path]
            paths[++path_count] = path
        }
    }
    function read_notes(file,    line, fields) {
        while ((getline line < file) > 0) {
            split(line, fields, "\t")
            note[fields[1]] = note[fields[1]] (note[fields[1]] == "" ? "" : "; ") fields[2]
        }
    }
'

# shellcheck disable=SC2016
lines='
    BEGIN {
        read_results(output); read_notes(notes)
        for (at = 1; at <= path_count; at++) {
            path = paths[at]; name = path; sub(/.*::/, "", name)
            rest = name
            while (match(rest, /^[a-z][0-9][0-9]_/)) {
                key = toupper(substr(rest, 1, 1)) (substr(rest, 2, 2) + 0)
                rest = substr(rest, 5)
                tests[key] = tests[key] path "\n"
                by_name[key] = 1
            }
        }
        print "\nConformance, line by line (docs/protocols.md)\n"
    }
    match($0, /^- [A-Z][0-9]+:/) {
        key = substr($0, 3, RLENGTH - 3); known[key] = 1; total++
        if (!(key in tests)) {
            printf "  %-4s %-9s %s\n", key, "NO TEST", substr($0, RLENGTH + 2)
            bad++; next
        }
        count = split(tests[key], of_line, "\n") - 1
        all = "ok"
        for (at = 1; at <= count; at++) if (result[of_line[at]] != "ok") all = "FAILED"
        if (all != "ok") bad++
        for (at = 1; at <= count; at++) {
            name = of_line[at]; sub(/.*::/, "", name)
            printf "  %-4s %-9s %s%s\n", at == 1 ? key : "", result[of_line[at]], of_line[at], \
                name in note ? "  (" note[name] ")" : ""
        }
    }
    END {
        for (key in by_name) if (!(key in known)) { print "  " key ": tests name this line, docs/protocols.md does not"; bad++ }
        printf "\n  %d lines, %d without a passing test\n", total, bad
        exit bad > 0
    }
'

# shellcheck disable=SC2016
clients='
    BEGIN {
        FS = " *\\| *"
        read_results(output); read_notes(notes)
        print "\nClients (tests/clients/matrix.txt)\n"
        printf "  %-28s %-34s %-38s %s\n", "client", "transport", "in the middle of the stream", "result"
    }
    /^#/ || NF < 4 { next }
    {
        outcome = $4 in result ? result[$4] : "NO TEST"
        if (outcome != "ok") bad++
        printf "  %-28s %-34s %-38s %s%s\n", $1, $2, $3, outcome, $4 in note ? "  (" note[$4] ")" : ""
        total++
    }
    END { printf "\n  %d rows, %d of them bad\n\n", total, bad; exit bad > 0 }
'

status=0
awk -v output="$output" -v notes="$notes" "$results$lines" "$root/docs/protocols.md" || status=1
awk -v output="$output" -v notes="$notes" "$results$clients" "$root/tests/clients/matrix.txt" || status=1
exit $status
