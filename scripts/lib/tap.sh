# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Counts the results of suites.

passed=0 failed=0 skipped=0

# add NAME PASSED FAILED SKIPPED [REMARK]
add() {
	printf '%-28s %4d passed, %d failed, %d skipped  %s\n' "$1" "$2" "$3" "$4" "${5-}"
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
}

# cargo_count FILE NAME: adds up the results of cargo test; without any result it has
# failed.
cargo_count() {
	local ok bad skip
	read -r ok bad skip < <(awk '/^test result: / { said = 1; ok += $4; bad += $6; skip += $8 }
		END { print ok + 0, bad + !said, skip + 0 }' "$1")
	add "$2" "$ok" "$bad" "$skip"
}

# tap_count FILE SUITE...: adds up the cases of these suites. Each suite must be in FILE
# with a plan that matches its cases; otherwise it has failed. Lists the cases that are
# not applicable yet, which do not count.
tap_count() {
	local file=$1 suite line
	shift
	for suite in "$@"; do
		line=$(tr -d '\r' <"$file" | awk -v want="# suite $suite" '
			/^# suite / { here = ($0 == want); if (here) { ok = bad = skip = 0; plan = -1; seen = 1 } }
			!here { next }
			/^ok [0-9]+ .*# SKIP/ { skip++; next }
			/^ok [0-9]+/ { ok++ }
			/^not ok [0-9]+/ { bad++ }
			/^Bail out!/ { bad++ }
			/^1\.\.[0-9]+$/ { plan = substr($0, 4); here = 0 }
			END {
				if (!seen) print 0, 1, 0, "did not run";
				else if (plan < 0) print ok, bad + 1, skip, "did not end";
				else if (plan != ok + bad + skip) print ok, bad + 1, skip, "wrong plan";
				else print ok, bad, skip, "";
			}')
		read -r ok bad skip what <<<"$line"
		add "$suite" "$ok" "$bad" "$skip" "$what"
		tr -d '\r' <"$file" | awk -v want="# suite $suite" '
			/^# suite / { here = ($0 == want) }
			here && /^# not applicable yet: / { print "  " substr($0, 3) }
			here && sub(/^ok [0-9]+ - /, "") && / # C / { print "  " $0 }'
	done
}
