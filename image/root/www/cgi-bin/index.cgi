#!/bin/sh
# The page at /, unless user data puts an index.html into /www.
html() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }
region=$(cat /run/seed/region 2>/dev/null | html)
printf 'Content-Type: text/html; charset=utf-8\r\n\r\n'
cat <<PAGE
<!doctype html><html lang="en"><meta charset="utf-8"><title>$(hostname | html)</title>
<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>
<h1>Hello from $(hostname | html)</h1>
<p>${region:+Region <b>$region</b>. }Address $(ip -4 -o addr show scope global | awk '{sub("/.*", "", $4); print $4}' | xargs).
Up for $(cut -d. -f1 /proc/uptime) s on $(uname -sr).</p>
<p>More at <a href="/cgi-bin/info">/cgi-bin/info</a>.</p></html>
PAGE
