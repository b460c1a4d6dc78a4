<?php
// The two-legged dance by PHP's OAuth extension: oauth1_dance.php BASE_URL KEY SECRET
[, $base, $key, $secret] = $argv;
$client = new OAuth($key, $secret, OAUTH_SIG_METHOD_HMACSHA1, OAUTH_AUTH_TYPE_AUTHORIZATION);
$temporary = $client->getRequestToken("$base/oauth1/request_token", "oob");
$client->setToken($temporary["oauth_token"], $temporary["oauth_token_secret"]);
$access = $client->getAccessToken("$base/oauth1/access_token", null, "any");
$client->setToken($access["oauth_token"], $access["oauth_token_secret"]);
$client->fetch("$base/items?a=1&b=x%20y");
$info = $client->getLastResponseInfo();
echo implode(" ", array_keys($access)), " ", $info["http_code"], "\n";
