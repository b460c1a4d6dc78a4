# The two-legged dance by Perl's Net::OAuth: oauth1_dance.pl BASE_URL KEY SECRET
use strict;
use warnings;
use HTTP::Request::Common qw(GET POST);
use LWP::UserAgent;
use Net::OAuth;
$Net::OAuth::PROTOCOL_VERSION = Net::OAuth::PROTOCOL_VERSION_1_0A;
my ($base, $key, $secret) = @ARGV;
my $agent = LWP::UserAgent->new(timeout => 10);
my $count = 0;

sub send_signed {
    my ($kind, $method, $url, %more) = @_;
    my $request = Net::OAuth->request($kind)->new(
        consumer_key => $key, consumer_secret => $secret, request_url => $url,
        request_method => $method, signature_method => "HMAC-SHA1", timestamp => time,
        nonce => join("-", time, $$, $count++), %more);
    $request->sign;
    my @header = (Authorization => $request->to_authorization_header);
    return $agent->request($method eq "GET" ? GET($url, @header) : POST($url, @header));
}

my $answer = send_signed("request token", "POST", "$base/oauth1/request_token", callback => "oob");
my $temporary = Net::OAuth->response("request token")->from_post_body($answer->content);
$answer = send_signed(
    "access token", "POST", "$base/oauth1/access_token", token => $temporary->token,
    token_secret => $temporary->token_secret, verifier => "any");
my $access = Net::OAuth->response("access token")->from_post_body($answer->content);
$answer = send_signed(
    "protected resource", "GET", "$base/items?a=1", token => $access->token,
    token_secret => $access->token_secret);
print $access->token ? "oauth_token oauth_token_secret " : "none ", $answer->code, "\n";
