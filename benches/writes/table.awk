# Lines of "group name number": for each group and name the median and the spread, and the ratio to the group's `bare`,
# of `publish_event` to the INSERT of the same row.
{
    key = $1 SUBSEP $2
    if (!(key in count)) { order[++keys] = key }
    values[key, ++count[key]] = $3
}
function sorted(key,    i, j, held) {
    for (i = 2; i <= count[key]; i++) {
        held = values[key, i]
        for (j = i - 1; j >= 1 && values[key, j] + 0 > held + 0; j--) { values[key, j + 1] = values[key, j] }
        values[key, j + 1] = held
    }
}
END {
    printf "| | | median | lowest | highest | to bare |\n|---|---|---:|---:|---:|---:|\n"
    for (i = 1; i <= keys; i++) {
        key = order[i]
        sorted(key)
        median[key] = values[key, int((count[key] + 1) / 2)]
    }
    for (i = 1; i <= keys; i++) {
        key = order[i]
        split(key, parts, SUBSEP)
        base = parts[2] ~ /^publish/ ? "bare-event-row" : "bare"
        ratio = median[key] / median[parts[1] SUBSEP base]
        printf "| %s | %s | %.0f | %.0f | %.0f | %.2f |\n", parts[1], parts[2], median[key], values[key, 1],
            values[key, count[key]], ratio
    }
}
