#!/bin/bash
# The main job on real input: a real nginx behind the gateway, a bearer token fetched and used with curl, a call signed by
# requests-oauthlib, and a refused call with its explanation. Every step is checked; the exit code is 0 only
# if all were as expected.
#
#   run.sh [--keep] GATEHOUSE      --keep: leave it running until Ctrl-C, to try things by hand
set -euo pipefail

# Debian's own: the modules come as its packages, which a python3 elsewhere on the PATH does not see.
python=${PYTHON:-/usr/bin/python3}
demo=$(cd "$(dirname "$0")" && pwd)
keep=no
if [ "${1:-}" = --keep ]; then keep=yes; shift; fi
gatehouse=$(realpath "${1:?usage: run.sh [--keep] GATEHOUSE}")
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d /tmp/gatehouse-demo-XXXXXX)
nginx_pid='' gateway_pid=''
finish() {
    local status=$?
    trap - EXIT INT TERM
    for pid in $gateway_pid $nginx_pid; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; }
fail() {
    printf '!! %s\n' "$*" >&2
    for log in "$work"/*.log; do printf -- '-- %s\n' "$log" >&2; tail -n 20 "$log" >&2; done
    exit 1
}
# expect STATUS: judges what `call` left in $status, and shows the body.
expect() {
    sed 's/^/   /' "$work/body"; echo
    [ "$status" = "$1" ] || fail "expected status $1, got $status"
    printf '   -> %s, as expected\n' "$status"
}
call() {
    status=$(curl --silent --show-error --max-time 10 --output "$work/body" \
        --write-out '%{http_code}' "$@") || fail "curl failed"
}
# wait_for URL PID: asks until something answers there, for at most ten seconds.
wait_for() {
    local tries=100
    until curl --silent --fail --max-time 1 --output /dev/null "$1"; do
        kill -0 "$2" 2>/dev/null || fail "the process for $1 has ended"
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "nothing answers at $1"
        sleep 0.1
    done
}

read -r upstream_port port admin_port < <("$python" "$demo/ports.py" 3)
url=https://127.0.0.1:$port

step "nginx as the API, on 127.0.0.1:$upstream_port"
mkdir "$work/nginx"
sed -e "s#@PREFIX@#$work/nginx#" -e "s#@PORT@#$upstream_port#" "$demo/nginx.conf" >"$work/nginx.conf"
nginx -e "$work/nginx-error.log" -p "$work/nginx" -c "$work/nginx.conf" >"$work/nginx.log" 2>&1 &
nginx_pid=$!
wait_for "http://127.0.0.1:$upstream_port/" "$nginx_pid"

step "A certificate, made for this demo alone: it ends tomorrow, and its key goes with this folder"
show "openssl req -x509 -newkey ec … -subj /CN=localhost -days 1"
(umask 077; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -days 1 -keyout "$work/demo.key" -out "$work/demo.crt" \
    2>"$work/openssl.log") || fail "openssl made no certificate"
export CURL_CA_BUNDLE=$work/demo.crt REQUESTS_CA_BUNDLE=$work/demo.crt

step "Gatehouse before it, with TLS, on 127.0.0.1:$port, with this conf"
(umask 077; "$python" -c 'import secrets; print(secrets.token_urlsafe(32))' >"$work/shop.secret"
 "$python" -c 'import secrets; print(secrets.token_urlsafe(32))' >"$work/partner.secret")
sed -e "s#@WORK@#$work#" -e "s#@PORT@#$port#" -e "s#@ADMIN@#$admin_port#" \
    -e "s#@UPSTREAM@#$upstream_port#" "$demo/gateway.conf" >"$work/gateway.conf"
sed 's/^/   /' "$work/gateway.conf"
"$gatehouse" check --config "$work/gateway.conf" || fail "the conf does not load"
"$gatehouse" serve --config "$work/gateway.conf" >"$work/access.log" 2>"$work/gateway.log" &
gateway_pid=$!
wait_for "http://127.0.0.1:$admin_port/readyz" "$gateway_pid"

step "Without a credential there is no way in"
show "curl $url/orders"
call "$url/orders"
expect 401

step "A client fetches a bearer token (RFC 6749, client_credentials)"
show "curl -u shop:SECRET -d grant_type=client_credentials -d scope=orders.read $url/oauth2/token"
call --user "shop:$(cat "$work/shop.secret")" --data grant_type=client_credentials \
    --data scope=orders.read "$url/oauth2/token"
[ "$status" = 200 ] || expect 200
token=$("$python" -c 'import json, sys; print(json.load(sys.stdin)["access_token"])' <"$work/body")
sed "s/${token:20}/…/" "$work/body" | sed 's/^/   /'; echo
printf '   -> 200, as expected\n'

step "... and calls through with it, by HTTP/2: nginx sees who it is, and not the token"
show "curl --http2 -H 'Authorization: Bearer TOKEN' $url/orders"
call --http2 --dump-header "$work/head" --header "Authorization: Bearer $token" "$url/orders"
expect 200
grep -q '^HTTP/2 200' "$work/head" || fail "that was not HTTP/2"
grep -q 'client=shop scheme=bearer' "$work/body" || fail "nginx was not told who calls"
grep -q 'authorization=\[\]' "$work/body" || fail "the token reached nginx"

step "A partner signs with OAuth 1.0 (RFC 5849), by requests-oauthlib as it is"
show "OAuth1Session('partner', SECRET).get('$url/orders?page=2')"
status=$("$python" "$demo/oauth1_call.py" partner "$work/partner.secret" "$url/orders?page=2" \
    >"$work/body") || true
status=$(tail -n 1 "$work/body"); sed -i '$d' "$work/body"
expect 200
grep -q 'client=partner scheme=oauth1' "$work/body" || fail "nginx was not told who calls"

step "A token without the scope that writing asks for"
show "curl -X POST -H 'Authorization: Bearer TOKEN' $url/orders"
call --request POST --header "Authorization: Bearer $token" "$url/orders"
expect 403

step "A partner that signs http:// where the gateway is asked by https://"
"$python" "$demo/oauth1_call.py" partner "$work/partner.secret" "$url/orders?page=2" \
    --sign "http://127.0.0.1:$port/orders?page=2" --save "$work/refused.http" >"$work/body" || true
status=$(tail -n 1 "$work/body"); sed -i '$d' "$work/body"
expect 401

step "... and why: explain decides on the same request again, and names the mistake"
show "gatehouse explain --config gateway.conf --request - <refused.http"
"$gatehouse" explain --config "$work/gateway.conf" --request - <"$work/refused.http" \
    >"$work/explain" 2>&1 || true
sed 's/^/   /' "$work/explain"
grep -q 'bad_signature' "$work/explain" || fail "explain does not say bad_signature"

step "The access log says the same (its last line)"
for _ in $(seq 50); do
    if grep -q bad_signature "$work/access.log"; then break; fi
    sleep 0.1
done
grep bad_signature "$work/access.log" | tail -n 1 | sed 's/^/   /' || fail "no such line in the log"

cat <<NEXT

All steps were as expected. To go on:
   sudo make install                        the program, the unit and /etc/gatehouse/gateway.conf
   \$EDITOR /etc/gatehouse/gateway.conf      gatehouse check says what is wrong, with line and column
   sudo systemctl enable --now gatehouse
   make run KEEP=1                          this demo again, left running to be tried by hand
NEXT
if [ "$keep" = yes ]; then
    cat <<TRY

Running until Ctrl-C: $url (admin http://127.0.0.1:$admin_port), files in $work
   curl --cacert $work/demo.crt -u "shop:\$(cat $work/shop.secret)" -d grant_type=client_credentials $url/oauth2/token
TRY
    wait "$gateway_pid"
fi
