# The two-legged dance by Ruby's oauth: oauth1_dance.rb BASE_URL KEY SECRET
require "oauth"
base, key, secret = ARGV
consumer = OAuth::Consumer.new(
  key, secret, site: base, request_token_path: "/oauth1/request_token",
  access_token_path: "/oauth1/access_token")
temporary = consumer.get_request_token(oauth_callback: "oob")
access = temporary.get_access_token(oauth_verifier: "any")
answer = access.get("/items?a=1&b=x%20y")
# It sends a body hash with whatever is no form.
posted = access.post("/items", '{"a":1}', "Content-Type" => "application/json")
puts "#{access.token.empty? ? 'none' : 'oauth_token oauth_token_secret'} #{answer.code} #{posted.code}"
