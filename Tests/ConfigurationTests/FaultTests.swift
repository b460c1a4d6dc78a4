import Configuration
import Testing

/// Mistakes in what directives say, each with its place. The conf stands on line 4.
@Suite struct FaultTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        var conf: String
        /// `column: message`, and `(suggestion)` where that is the point.
        var reports: [String]
        var testDescription: String { conf }

        init(_ conf: String, _ reports: String...) {
            (self.conf, self.reports) = (conf, reports)
        }
    }

    static let names: [Fault] = [
        Fault("wrokers 1;", "1: unknown directive 'wrokers' (did you mean 'workers'?)"),
        Fault("lisener a { }", "1: unknown directive 'lisener' (did you mean 'listener'?)"),
        Fault("log { acess off; }", "7: unknown directive 'acess' (did you mean 'access'?)"),
        Fault(
            "log { zzzzzzzz off; }",
            "7: unknown directive 'zzzzzzzz' (expected access, access_format or error)"),
        Fault(
            "route /x { upstream app; client c { } }",
            "26: 'client' belongs at the top level, not in 'route'"),
        Fault("methods GET;", "1: 'methods' belongs in 'route', not at the top level"),
        Fault(
            "route /x { upstream app; limits { headers 3; } }",
            "35: 'headers' belongs in 'limits' of a listener, not in 'limits' of a route"),
        Fault(
            "workers 1; workers 2;",
            "12: 'workers' is here twice (it may stand once at the top level)"),
        Fault(
            "route /x { upstream app; timeout 1s; timeout 2s; }",
            "38: 'timeout' is here twice (it may stand once in 'route')"),
        Fault("workers;", "8: 'workers' needs an argument (expected workers auto|N;)"),
        Fault("workers 1 2;", "11: 'workers' takes no such argument (expected workers auto|N;)"),
        Fault("workers { }", "8: 'workers' needs an argument (expected workers auto|N;)"),
        Fault("workers 1 { }", "1: 'workers' takes no block (expected workers auto|N;)"),
        Fault("log;", "1: 'log' needs a block (expected log {…})"),
        Fault("log x { }", "5: 'log' takes no such argument (expected log {…})"),
        Fault("store memory { }", "1: 'store memory' takes no block (expected store memory;)"),
        Fault("rewrite /a;", "1: 'rewrite' belongs in 'route', not at the top level"),
        Fault(
            "route /x { upstream app; rewrite /a; }",
            "36: 'rewrite' needs more arguments (expected rewrite FROM TO;)"),
    ]

    static let values: [Fault] = [
        Fault("workers 0;", "9: '0' is no number in range (expected 1 to 1024)"),
        Fault("workers +1;", "9: '+1' is no number in range (expected 1 to 1024)"),
        Fault(
            "workers 99999999999999999999;",
            "9: '99999999999999999999' is no number in range (expected 1 to 1024)"),
        Fault("token_cache 1t;", "13: '1t' is no size"),
        Fault("token_cache 64K;", "13: '64K' is no size"),
        Fault("token_cache k;", "13: 'k' is no size"),
        Fault("token_cache 1k;", "13: '1k' is out of range"),
        Fault("token_cache 9223372036854775807g;", "13: '9223372036854775807g' is out of range"),
        Fault("shutdown_timeout 30;", "18: '30' is no time"),
        Fault("shutdown_timeout -1s;", "18: '-1s' is no time"),
        Fault("shutdown_timeout 1.5s;", "18: '1.5s' is no time"),
        Fault("shutdown_timeout 2d;", "18: '2d' is out of range"),
        Fault(
            "shutdown_timeout 9223372036854775807d;", "18: '9223372036854775807d' is out of range"),
        Fault("route /x { upstream app; timeout 0s; }", "34: '0s' is out of range"),
        Fault("listener l { address nowhere; }", "22: 'nowhere' is no address"),
        Fault("listener l { address [::1:80; }", "22: '[::1:80' is no address"),
        Fault("listener l { address a:65536; }", "22: 'a:65536' is no address"),
        Fault("listener l { address 10.0.0.256:80; }", "22: '10.0.0.256' is no IPv4 address"),
        Fault("listener l { address unix:relative; }", "22: 'unix:relative' is no address"),
        Fault(
            "listener l { }",
            "1: 'listener' needs 'address' (expected address HOST:PORT|[V6]:PORT|unix:/path|systemd:NAME;)"
        ),
        Fault(
            "listener l { address systemd:; }",
            "22: 'systemd:' names no socket of systemd (expected systemd:NAME, with the NAME of FileDescriptorName= in the socket unit)"
        ),
        Fault(
            "upstream x { server systemd:api; } route /x { upstream x; }",
            "21: 'systemd:api' is no address"),
        Fault(
            "listener l { address a:1; protocols h2c; tls { certificate /k/open; key /k/key; } }",
            "27: 'h2c' is HTTP/2 in clear, and this listener has a 'tls' block (expected h2)"),
        Fault(
            "listener l { address a:1; tls { } }", "27: 'tls' needs 'certificate'",
            "27: 'tls' needs 'key'"),
        Fault(
            "listener l { address a:1; tls { certificate /k/no; key /k/key; } }",
            "45: cannot read '/k/no': no such file"),
        Fault(
            "listener l { address a:1; tls { certificate /k/open; key /k/key; client_certificate require; } }",
            "27: 'client_certificate require' needs 'client_ca'"),
        Fault(
            "listener l { address a:1; tls { certificate /k/open; key /k/key; ciphers !MD5 HIGH; } }",
            "74: '!MD5' is no cipher suite of TLS 1.2", "79: 'HIGH' is no cipher suite of TLS 1.2"),
        Fault(
            "listener l { address a:1; tls { certificate /k/open; key /k/key; } tls { certificate /k/open; key /k/key; min_version 1.3; } }",
            "68: this 'tls' block has other rules than the first of its listener"),
        Fault(
            "upstream u { server a:1; protocol auto; } route /x { upstream u; }",
            "35: 'auto' is settled by TLS, and there is no 'tls' block here (expected http/1.1, or h2 for HTTP/2 in clear)"
        ),
        Fault(
            "upstream u { server a:1; tls { certificate /k/open; } } route /x { upstream u; }",
            "26: a certificate and its key belong together"),
        Fault(
            "upstream u { server unix:/s; tls { } } route /x { upstream u; }",
            "1: a server on a unix socket has no name that its certificate could be checked for"),
        Fault(
            "upstream u { server a:1; tls { server_name a:b; } } route /x { upstream u; }",
            "44: 'a:b' is no name of a server"),
        Fault(
            "upstream u { server a:1; protocol h2; } route /x { upstream u; websocket on; }",
            "61: 'websocket on' needs HTTP/1.1, and 'u' has 'protocol h2' (expected protocol http/1.1 or auto)"
        ),
        Fault(
            "client c { auth_method tls_client_auth; secret_file /k/secret; }",
            "1: 'auth_method tls_client_auth' needs the name in the certificate"),
        Fault(
            "client c { secret_file /k/secret; tls_client_auth_san_dns a; }",
            "1: the name of a certificate needs 'auth_method tls_client_auth'"),
        Fault(
            "client c { auth_method tls_client_auth; tls_client_auth_san_dns a; tls_client_auth_san_ip b; }",
            "68: the certificate of the client has a name already", "91: 'b' is no IP address"),
        Fault(
            "client c { auth_method tls_client_auth; tls_client_auth_san_dns *.test; }",
            "65: '*.test' is no host name"),
        Fault(
            "route /x { upstream app; require certificate_bound x; }",
            "52: 'require certificate_bound' takes no argument"),
        Fault(
            "route /x { upstream app; require dpop x; }", "39: 'require dpop' takes no argument"),
        Fault(
            "route /x { upstream app; authenticate oauth1; require dpop; }",
            "47: 'require dpop' on a route that takes no token"),
        Fault(
            "client c { auth_method private_key_jwt; secret_file /k/secret; }",
            "1: 'auth_method private_key_jwt' needs the client's public keys"),
        Fault(
            "client c { secret_file /k/secret; jwks_file /k/keys.jwks; }",
            "1: 'jwks_file' needs 'auth_method private_key_jwt'"),
        Fault("listener \"a b\" { address a:1; }", "10: 'a b' is no name"),
        Fault("listener web { address a:1; }", "10: there is another listener 'web'"),
        Fault(
            "listener l { address a:1; address a:1; }",
            "35: 'a:1' is another listener's address too"),
        Fault(
            "listener l { address a:1; limits { request_head 1k; } }",
            "49: 'request_line' (8k) is more than 'request_head' (1k)"),
        Fault(
            "listener l { address a:1; limits { streams 0; } }",
            "44: '0' is no number in range (expected 1 to 100000)"),
        Fault(
            "admin { address 0.0.0.0:9; }", "17: '0.0.0.0:9' can be reached from other machines"),
        Fault("admin { address [::]:9; }", "17: '[::]:9' can be reached from other machines"),
        Fault("admin { address box:9; }", "17: 'box:9' can be reached from other machines"),
        Fault(
            "listener l { address 127.0.0.1:9; } admin { address 127.0.0.1:9; }",
            "53: '127.0.0.1:9' is another listener's address too"),
        Fault("admin { }", "1: 'admin' needs 'address'"),
        Fault(
            "admin { address a:1; allow all; }",
            "28: 'all' is no address block (for every address write 0.0.0.0/0 ::/0)"),
        Fault("admin { address a:1; allow 10.0.0.1/8; }", "28: '10.0.0.1/8' is no address block"),
        Fault("log { access stderr; }", "14: the access log does not go to stderr"),
        Fault("log { error off; }", "13: the error log does not go to 'off'"),
        Fault(
            "log { error stderr warning; }",
            "20: unknown value 'warning' (expected debug, info, notice, warn or error)"),
        Fault("log { error stderr wran; }", "20: unknown value 'wran' (did you mean 'warn'?)"),
        Fault("log { access_format jsno; }", "21: unknown value 'jsno' (did you mean 'json'?)"),
        Fault("store sqlte;", "7: unknown value 'sqlte' (did you mean 'sqlite'?)"),
        Fault("store sqlite { path \"\"; }", "21: '' is no path of a file"),
        Fault(
            "secrets { key_file /k/key; } store redis;",
            "30: 'store redis' needs 'address' (expected store redis { address HOST:PORT…; })"),
        Fault(
            "store redis { address a:1; }",
            "1: 'store redis' has no key for its secrets "
                + "(expected secrets { key_file FILE; } with the same key on every gateway)"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a; }",
            "52: 'a' is no address (expected HOST:PORT, [V6]:PORT or unix:/path)"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1 a:1; }",
            "56: 'a:1' is here twice"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:0; }",
            "52: a server has no port 0"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1; username u; }",
            "57: 'username' needs 'password_file'"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1; ca /k/open; }",
            "57: 'ca' needs TLS (expected tls on;)"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1; database -1; }",
            "66: '-1' is no number in range (expected 0 to 65535)"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1; timeout 5ms; }",
            "65: '5ms' is out of range"),
        Fault(
            "secrets { key_file /k/key; } store redis { address a:1; password_file /k/none; }",
            "71: cannot read '/k/none': no such file"),
        Fault("secrets { }", "1: 'secrets' needs 'key_file'"),
    ]

    static let credentials: [Fault] = [
        Fault("dpop { proof_lifetime 2h; }", "23: '2h' is out of range"),
        Fault("dpop { proof_lifetime 500ms; }", "23: '500ms' is out of range"),
        Fault("dpop { clock_skew 6m; }", "19: '6m' is out of range"),
        Fault("dpop { nonce_rotation 0s; }", "23: '0s' is out of range"),
        Fault("dpop { require_nonce yes; }", "22: unknown value 'yes'"),
        Fault("dpop { public_url a; }", "19: 'a' is no http or https URL"),
        Fault("dpop { on_store_failure accept; }", "25: unknown value 'accept'"),
        Fault("authority { }", "1: 'authority' needs 'issuer' (expected issuer URL;)"),
        Fault("authority { issuer ftp://a; }", "20: 'ftp://a' is no http or https URL"),
        Fault("authority { issuer https://a?b; }", "20: 'https://a?b' has a query"),
        Fault("authority { issuer https://a#b; }", "20: 'https://a#b' has a fragment"),
        Fault("authority { issuer https://; }", "20: 'https://' has no valid host"),
        Fault("authority { issuer https://u@a; }", "20: 'https://u@a' names a user"),
        Fault("authority { issuer https://a:0; }", "20: 'https://a:0' has no valid port"),
        Fault(
            "authority { issuer \"https://a b\"; }", "20: 'https://a b' holds bytes that no URL has"
        ),
        Fault("authority { issuer https://a; scopes \"a b\"; }", "38: 'a b' is no scope"),
        Fault("authority { issuer https://a; scopes a a; }", "40: 'a' is here twice"),
        Fault(
            "authority { issuer https://a; listeners wbe; }",
            "41: there is no listener 'wbe' (did you mean 'web'?)"),
        Fault(
            "authority { issuer https://a; token_lifetime 500ms; }", "46: '500ms' is out of range"),
        Fault(
            "authority { issuer https://a; key_rotation 7s; }",
            "44: keys that change so often are 98 at once, of at most 90"),
        Fault(
            "authority { issuer https://a; signing_algorithm HS256; }",
            "49: unknown value 'HS256' (did you mean 'ES256'?)"),
        Fault(
            "store memory; authority { issuer https://a; }",
            "15: 'authority' with 'store memory' has no key for its secrets"),
        Fault("client c { }", "8: the client 'c' has no credential"),
        Fault(
            "client c { oauth1_rsa_key /k/rsa.pem; auth_method client_secret_post; }",
            "1: 'auth_method' needs a secret"),
        Fault(
            "client c { secret_file /k/secret; } client c { secret_file /k/secret; }",
            "44: there is another client 'c'"),
        Fault("client \"\" { secret_file /k/secret; }", "8: '' is no client identifier"),
        Fault("client c { secret_hash sha256$AAAA$AAAA; }", "24: this is no secret hash"),
        Fault("client c { secret_file /k/none; }", "24: cannot read '/k/none': no such file"),
        Fault(
            "client c { oauth1_rsa_key none; }",
            "27: cannot read '/etc/gatehouse/none': no such file"),
        Fault(
            "client c { secret_file /k/secret; allow_plaintext yes; }",
            "51: unknown value 'yes' (expected on or off)"),
        Fault(
            "client c { secret_file /k/secret; dpop_bound_access_tokens 1; }",
            "60: unknown value '1' (expected on or off)"),
        Fault(
            "issuer i { }", "1: 'issuer' needs 'issuer'", "1: 'issuer' needs 'audience'",
            "1: the issuer 'i' has no keys (expected jwks_file FILE; jwks_uri URL; or discovery on;)"
        ),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_uri http://i/k; }",
            "51: 'http://i/k' is http, and not of this machine"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_uri https://i/k#x; }",
            "51: 'https://i/k#x' has a fragment"),
        Fault(
            "issuer i { issuer http://i; audience a; discovery on; }",
            "51: 'http://i' is http, and not of this machine"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_uri https://i/k; discovery on; }",
            "1: an issuer has one of 'jwks_file', 'jwks_uri' and 'discovery on'"),
        Fault(
            "issuer i { issuer https://i; audience a; discovery off; }",
            "1: the issuer 'i' has no keys"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_uri https://i/k; algorithms HS256; }",
            "1: the shared keys of HMAC are in no set that is fetched"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; ca /k/open; }",
            "1: 'ca' is for keys that are fetched"),
        Fault(
            "introspection x { }", "1: 'introspection' needs 'endpoint' (expected endpoint URL;)",
            "1: 'introspection' needs 'client_id'",
            "1: 'introspection' needs 'client_secret_file'"),
        Fault(
            "introspection x { endpoint http://x/; client_id a; client_secret_file /k/secret; }",
            "28: 'http://x/' is http, and not of this machine"),
        Fault(
            "introspection x { endpoint https://x; client_id a; client_secret_file /k/none; }",
            "71: cannot read '/k/none': no such file"),
        Fault(
            "introspection x { endpoint https://x; client_id a; client_secret_file /k/secret; timeout 5ms; }",
            "90: '5ms' is out of range"),
        Fault(
            "introspection x { endpoint https://x; client_id a; client_secret_file /k/secret; } introspection y { endpoint https://y; client_id a; client_secret_file /k/secret; }",
            "84: 'introspection' is here twice"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; algorithms none; }",
            "77: 'none' is never accepted"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; algorithms RS265; }",
            "77: unknown value 'RS265' (did you mean 'RS256'?)"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; typ a/b/c; }",
            "70: 'a/b/c' is no media type"),
        Fault(
            "authority { issuer https://i; } issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; }",
            "51: there is another issuer with this URL"),
        Fault(
            "issuer i { issuer https://i; audience a; jwks_file /k/none; }",
            "52: cannot read '/k/none': no such file"),
        Fault(
            "oauth1 { signature_methods HMAC_SHA1; }",
            "28: unknown value 'HMAC_SHA1' (did you mean 'HMAC-SHA1'?)"),
        Fault("oauth1 { realm \"a\\\"b\"; }", "16: 'a\"b' is no realm"),
        Fault(
            "oauth1 { public_url api.example.com; }",
            "21: 'api.example.com' is no http or https URL"),
        Fault("oauth1 { timestamp_window 0s; }", "27: '0s' is out of range"),
    ]

    static let routes: [Fault] = [
        Fault("upstream app { server a:1; }", "10: there is another upstream 'app'"),
        Fault(
            "upstream u { } route /u { upstream u; }",
            "1: 'upstream' needs 'server' (expected server HOST:PORT|unix:/path;)"),
        Fault(
            "upstream u { server a:1; server a:1; } route /u { upstream u; }",
            "33: 'a:1' is here twice"),
        Fault("upstream u { server a:0; } route /u { upstream u; }", "21: a server has no port 0"),
        Fault(
            "upstream u { server a:1 b:2; } route /u { upstream u; }",
            "25: 'server' takes no such argument"),
        Fault("route /x { }", "1: 'route' needs 'upstream' (expected upstream NAME;)"),
        Fault("route /x { upstream ap; }", "21: there is no upstream 'ap' (did you mean 'app'?)"),
        Fault("route /base { upstream app; }", "7: there is another route '/base' of this kind"),
        Fault(
            "route x { upstream app; }", "7: 'x' is no canonical path: it does not begin with '/'"),
        Fault(
            "route /a//b { upstream app; }",
            "7: '/a//b' is no canonical path: it has an empty segment"),
        Fault(
            "route /a/../b { upstream app; }",
            "7: '/a/../b' is no canonical path: it has a dot segment"),
        Fault(
            "route /a/. { upstream app; }", "7: '/a/.' is no canonical path: it has a dot segment"),
        Fault("route /a?b { upstream app; }", "7: '/a?b' is no canonical path: it has a query"),
        Fault(
            "route /a#b { upstream app; }",
            "7: '/a#b' is no canonical path: it holds a byte that no path has"),
        Fault(
            "route /ü { upstream app; }",
            "7: '/ü' is no canonical path: it holds a byte that no path has"),
        Fault(
            "route /a%2Fb { upstream app; }",
            "7: '/a%2Fb' is no canonical path: an encoded '/', '\\', blank or control can be read in two ways"
        ),
        Fault(
            "route /%2E { upstream app; }",
            "7: '/%2E' is no canonical path: it encodes a character that needs no encoding"),
        Fault(
            "route /a%c3 { upstream app; }",
            "7: '/a%c3' is no canonical path: '%' is not followed by two upper-case hex digits"),
        Fault("route ~ /x { upstream app; }", "9: 'route' takes one path"),
        Fault("host a:80 { route / { upstream app; } }", "6: 'a:80' is no host name"),
        Fault("host *.10.0.0.1 { route / { upstream app; } }", "6: '*.10.0.0.1' is no host name"),
        Fault("host *.*.a { route / { upstream app; } }", "6: '*.*.a' is no host name"),
        Fault(
            "host a { route / { upstream app; } } host A { route / { upstream app; } }",
            "43: 'A' has routes already"),
        Fault("host a { }", "1: 'host' needs 'route' (expected route [=]PATH {…})"),
        Fault(
            "route /x { upstream app; strip_prefix x; }",
            "39: 'x' is no canonical path: it does not begin with '/'"),
        Fault(
            "route /x { upstream app; rewrite /x /..; }",
            "37: '/..' is no canonical path: it has a dot segment"),
        Fault(
            "route /x { upstream app; end_streams_with_credential on 5s; }",
            "57: '5s' does not belong here (expected on grace DURATION, or off)"),
        Fault(
            "route /x { upstream app; end_streams_with_credential off grace 1s; }",
            "58: 'grace' does not belong here (expected on grace DURATION, or off)"),
        Fault(
            "route /x { upstream app; end_streams_with_credential on grace; }",
            "57: 'grace' does not belong here (expected on grace DURATION, or off)"),
        Fault("route /x { upstream app; set_header \"a b\" c; }", "37: 'a b' is no field name"),
        Fault(
            "route /x { upstream app; set_header A \"b\\nc\"; }", "39: 'b\\nc' is no field value"),
        Fault("route /x { upstream app; set_header A \" b\"; }", "39: ' b' is no field value"),
        Fault("route /x { upstream app; set_header A b; set_header a c; }", "53: 'a' is set twice"),
        Fault(
            "route /x { upstream app; set_header content_length 1; }",
            "37: 'content_length' is set by the gateway alone"),
        Fault(
            "route /x { upstream app; set_header Transfer-Encoding x; }",
            "37: 'Transfer-Encoding' is set by the gateway alone"),
        Fault(
            "route /x { upstream app; set_header CONNECTION x; }",
            "37: 'CONNECTION' is set by the gateway alone"),
        Fault(
            "route /x { upstream app; set_header x_auth_subject x; }",
            "37: 'x_auth_subject' carries the identity that the gateway has proven"),
        Fault(
            "route /x { upstream app; remove_header Host; }",
            "40: 'Host' is set by the gateway alone"),
        Fault("route /x { upstream app; methods get; }", "34: 'get' is not the method GET"),
        Fault("route /x { upstream app; methods CONNECT; }", "34: 'CONNECT' is never let through"),
        Fault("route /x { upstream app; methods GET GET; }", "38: 'GET' is here twice"),
        Fault("route /x { upstream app; authenticate any; }", "42: 'any' names no credential"),
        Fault("route /x { upstream app; authenticate bearer none; }", "46: 'none' stands alone"),
        Fault("route /x { upstream app; authenticate all none; }", "43: 'none' stands alone"),
        Fault(
            "route /x { upstream app; authenticate baerer; }",
            "39: unknown value 'baerer' (did you mean 'bearer'?)"),
        Fault(
            "route /x { upstream app; authenticate none; require scope a; }",
            "45: 'require' on a route with 'authenticate none'"),
        Fault(
            "route /x { upstream app; require scope; }",
            "39: 'require scope' needs an argument (expected require scope NAME… [on METHOD…];)"),
        Fault(
            "route /x { upstream app; require scope on GET; }", "39: 'require scope' names no scope"
        ),
        Fault("route /x { upstream app; require scope a on; }", "44: 'on' names no method"),
        Fault(
            "route /x { upstream app; require audience a b; }",
            "45: 'require audience' takes one name"),
        Fault(
            "route /x { upstream app; require claim a b; }",
            "34: 'require claim' compares a claim with values"),
        Fault(
            "route /x { upstream app; require client of corp; }",
            "40: 'require client' names no client"),
        Fault("route /x { upstream app; require client a of; }", "45: 'of' takes one name"),
        Fault("route /x { upstream app; require client a of b c; }", "48: 'of' takes one name"),
        Fault(
            "route /x { upstream app; require client a of corp; }",
            "46: there is no 'issuer' or 'introspection' block 'corp' (expected the name of one)"),
        Fault(
            "issuer corp { issuer http://a; audience a; jwks_file /k/keys.jwks; } "
                + "route /x { upstream app; require client a of crop; }",
            "115: there is no 'issuer' or 'introspection' block 'crop' (did you mean 'corp'?)"),
        Fault(
            "issuer a { issuer http://a; audience a; jwks_file /k/keys.jwks; } "
                + "issuer b { issuer http://b; audience a; jwks_file /k/keys.jwks; } "
                + "host h.test { route /x { upstream app; require client c; } }",
            "180: whose client is meant: 'a' or 'b'? (expected require client ID… of ISSUER;)"),
        Fault(
            "issuer a { issuer http://a; audience a; jwks_file /k/keys.jwks; } "
                + "introspection a { endpoint https://a; client_id c; client_secret_file /k/secret; } "
                + "route /x { upstream app; require client c of a; }",
            "195: 'a' is an 'issuer' and an 'introspection' block"),
        Fault(
            "route /x { upstream app; require scpoe a; }",
            "34: unknown value 'scpoe' (did you mean 'scope'?)"),
        Fault(
            "route /x { upstream app; allow 10.0.0.0/33; }", "32: '10.0.0.0/33' is no address block"
        ),
    ]

    private static let notHere = "(expected RATE [burst N] per client|address|route)"

    /// From column 26 on, in a route.
    private static func rate(_ text: String, _ reports: String...) -> Fault {
        var fault = Fault("route /x { upstream app; rate_limit \(text); }")
        fault.reports = reports
        return fault
    }

    static let rates: [Fault] = [
        rate(
            "1/s",
            "40: 'rate_limit' needs more arguments (expected rate_limit RATE [burst N] per client|address|route;)"
        ),
        rate("1/s by client", "41: 'by' does not belong here \(notHere)"),
        rate("1/s burst 3 client", "49: 'client' does not belong here \(notHere)"),
        rate("1/s per client burst 3", "41: 'per' does not belong here \(notHere)"),
        rate("1/s burst per client", "51: 'client' does not belong here \(notHere)"),
        rate("1/s per user", "45: unknown value 'user' (expected client, address or route)"),
        rate("1/s per clinet", "45: unknown value 'clinet' (did you mean 'client'?)"),
        rate(
            "100 per client",
            "37: '100' is no rate (expected requests in a second, minute, hour or day, as 100/s, 5000/m, 20/h or 5/d)"
        ),
        rate("/s per client", "37: '/s' is no rate"),
        rate("1/w per client", "37: '1/w' is no rate"),
        rate("-1/s per client", "37: '-1/s' is no rate"),
        rate("1.5/s per client", "37: '1.5/s' is no rate"),
        rate("1/s/s per client", "37: '1/s/s' is no rate"),
        rate("0/s per client", "37: '0/s' is out of range (expected 1/s to 1000000/s)"),
        rate("1000001/s per client", "37: '1000001/s' is out of range"),
        rate(
            "60000001/m per client",
            "37: '60000001/m' is out of range (expected 1/m to 60000000/m)"),
        rate("99999999999999999999/d per client", "37: '99999999999999999999/d' is out of range"),
        rate(
            "1/s burst 0 per client",
            "47: '0' is no number in range (expected 1 to 1000000)"),
        rate("1/s burst 1000001 per client", "47: '1000001' is no number in range"),
        rate(
            "1/d burst 31 per client",
            "47: a burst of 31 takes more than 30d to come back at 1/d (expected a smaller burst or a higher rate)"
        ),
        rate(
            "1/d burst 1000000 per client",
            "47: a burst of 1000000 takes more than 30d to come back at 1/d"),
        rate(
            "5/s per client; rate_limit 5/s burst 5 per client",
            "53: 'rate_limit 5/s burst 5 per client' is here twice"),
        Fault(
            "rate_limit 1/s per client;",
            "1: 'rate_limit' belongs in 'listener', in 'client' or in 'route', not at the top level"
        ),
        Fault(
            "client c { oauth1_secret_file /k/secret; rate_limit 0/m per route; }",
            "53: '0/m' is out of range"),
        Fault(
            "listener l { address a:1; rate_limit x per route; }", "38: 'x' is no rate"),
    ]

    @Test func aBlockHasSixteenRatesAtMost() {
        let lines = (1...17).map { "rate_limit \($0)/s per client;" }.joined(separator: " ")
        let result = Memory.usual.load(base + "route /x { upstream app; \(lines) }")
        #expect(
            result.diagnostics.map(\.message) == ["more than 16 'rate_limit' in one block"])
    }

    @Test(arguments: names + values + credentials + routes + rates)
    func faultAndItsPlace(fault: Fault) {
        let result = Memory.usual.load(base + fault.conf)
        #expect(result.configuration == nil)
        let errors = result.diagnostics.filter { $0.severity == .error }
        #expect(errors.allSatisfy { $0.line == 4 && $0.file == "gateway.conf" })
        let reports = zip(errors, fault.reports).map { diagnostic, expected in
            let head = "\(diagnostic.column): \(diagnostic.message)"
            // Only where the case asks for it: the suggestion of the rest is incidental.
            return expected.hasSuffix(")") && !head.hasSuffix(")")
                ? "\(head) (\(diagnostic.suggestion ?? ""))" : head
        }
        #expect(reports == fault.reports)
        #expect(errors.count == fault.reports.count)
    }

    @Test func allMistakesAreReportedAtOnce() {
        let conf = "workers x;\ntoken_cache y;\nbogus;\nroute / { upstream none; methods get; }"
        #expect(
            Memory.usual.load(base + conf).diagnostics.filter { $0.severity == .error }.map(\.line)
                == [4, 5, 6, 7, 7])
    }

    @Test func whatMustBeThere() {
        #expect(
            Memory().load("").summaries == [
                "0:0: error: there is no listener",
                "0:0: error: there is neither a route nor an authority",
            ])
        #expect(
            Memory().load("listener l { address a:1; } authority { issuer https://a; }").summaries
                == [])
    }

    @Test func aSecretHashIsNeverShown() {
        let result = Memory().load(base + "client c {\nsecret_hash\nsha256$c2VjcmV0;\n}")
        #expect(result.diagnostics.allSatisfy { !$0.message.contains("c2VjcmV0") })
    }
}

@Suite struct WarningTests {
    struct Doubt: Sendable, CustomTestStringConvertible {
        var conf: String
        var report: String
        var testDescription: String { conf }
    }

    static let doubts: [Doubt] = [
        Doubt(
            conf: "client c { secret_file /k/open; }",
            report:
                "4:24: warning: the secret file '/k/open' is readable by everyone on this machine"),
        Doubt(
            conf: "client c { oauth1_secret_file /k/open; }",
            report:
                "4:31: warning: the secret file '/k/open' is readable by everyone on this machine"),
        Doubt(
            conf: "secrets { key_file /k/open; }",
            report:
                "4:20: warning: the secret file '/k/open' is readable by everyone on this machine"),
        Doubt(
            conf:
                "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; algorithms HS256; }",
            report:
                "4:52: warning: the secret file '/k/keys.jwks' is readable by everyone on this machine"
        ),
        Doubt(
            conf: "oauth1 { signature_methods HMAC-SHA1 PLAINTEXT; }",
            report:
                "4:38: warning: PLAINTEXT is accepted on TLS listeners alone, and this conf has none"
        ),
        Doubt(
            conf: "upstream u { server a:1; }",
            report: "4:10: warning: no route leads to the upstream 'u'"),
        Doubt(
            conf: "route /x { upstream app; authenticate bearer; }",
            report: "4:1: warning: this route needs a bearer token, but there is no issuer of any"),
        Doubt(
            conf:
                "authority { issuer https://a; } route /x { upstream app; authenticate bearer; require dpop; }",
            report:
                "4:79: warning: a proof for any host is taken that a request names in Host"),
        Doubt(
            conf:
                "authority { issuer https://a; scopes r; } client c { secret_file /k/secret; scopes w; }",
            report: "4:84: warning: the authority never grants the scope 'w'"),
    ]

    /// Behind a proxy no certificate of ours says whose host a request names, whatever the listener has.
    @Test(arguments: [
        ("", []),
        (
            "trusted_proxies 10.0.0.0/8;",
            ["3:79: warning: a proof for any host is taken that a request names in Host"]
        ),
    ])
    func whoseHostAProofMayName(proxies: String, reports: [String]) {
        let conf = """
            listener l { address a:1; tls { certificate /k/rsa.pem; key /k/key; } \(proxies) }
            upstream app { server 127.0.0.1:9; }
            authority { issuer https://a; } route /x { upstream app; authenticate bearer; require dpop; }
            """
        #expect(Memory.usual.load(conf).summaries == reports)
    }

    @Test(arguments: doubts) func doubtAndItsPlace(doubt: Doubt) {
        let result = Memory.usual.load(base + doubt.conf)
        #expect(result.configuration != nil)
        #expect(result.summaries == [doubt.report])
    }
}
