# Turns the plain part of a #cloud-config into a shell script: write_files with a
# path, permissions and literal content, then the strings of runcmd, in that order.
BEGIN { print "#!/bin/sh"; q = "'" }

function quoted(s) { gsub(q, q "\\" q q, s); return q s q }
function unquote(s) { if (s ~ /^".*"$/ || s ~ /^'.*'$/) s = substr(s, 2, length(s) - 2); return s }
function flush_file() {
    if (path == "") return
    print "mkdir -p \"$(dirname " quoted(path) ")\""
    print "printf %s " quoted(content) " >" quoted(path)
    if (mode != "") print "chmod " quoted(mode) " " quoted(path)
    path = content = mode = ""
}
function depth(s) { match(s, /^ */); return RLENGTH }

# The lines of a block literal are indented deeper than its key.
literal && ($0 ~ /^ *$/ || depth($0) > key) {
    if (margin == 0 && $0 !~ /^ *$/) margin = depth($0)
    content = content substr($0, margin + 1) "\n"
    next
}
{ literal = 0 }
/^[A-Za-z_]+:/ { flush_file(); section = $1; sub(/:.*/, "", section); next }
section == "write_files" {
    if ($0 ~ /^ *- /) flush_file()
    line = $0; sub(/^ *- /, "  ", line)
    key = depth(line); sub(/^ +/, "", line)
    if (line ~ /^path:/) { sub(/^path: */, "", line); path = unquote(line) }
    if (line ~ /^permissions:/) { sub(/^permissions: */, "", line); mode = unquote(line) }
    if (line ~ /^content: *\|/) { literal = 1; margin = 0 }
    else if (line ~ /^content:/) { sub(/^content: */, "", line); content = unquote(line) "\n" }
}
section == "runcmd" && /^ *- / { line = $0; sub(/^ *- */, "", line); commands = commands unquote(line) "\n" }
END { flush_file(); printf "%s", commands }
