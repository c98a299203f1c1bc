#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Credentials for relays: the order of lookups, each mechanism, a host that cannot prove itself.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Vault;
use Test::More;

my $dir = tempdir('relay');
my $maps = 'inline:{{host.test=host:s3cret:1},{[next.test]:587=next:s3cret},{joe@a.test=joe:his},{@b.test=b:domain},'
    . '{x@c.test=c:base},{odd.test=o,d=d:p w},{empty.test=nobody},{token.test=me@x.test:ya29.tok}}';
my $service = sub { "{ $_[0] { } { } { } { } { $_[1] } $_[2] }" };
my $v = Gatepost::Vault->new(tables => [$maps, 'fail:x'], main => { recipient_delimiter => '+' },
    services => join ' ', $service->('smtp/unix', $maps, 'no'), $service->('by/unix', $maps, 'yes'),
    $service->('bad/unix', 'fail:x', 'no'));
is($v->{state}, 'ready', 'ready') or diag($v->log_text);
$v->peer($_->[0], 'smtp-client', $_->[1]) for [s => 'smtp/unix'], [b => 'by/unix'], [f => 'bad/unix'], [n => 'none/unix'];

# (what, mechanism or result, secret)
sub begin {
    my ($peer, $host, $nexthop, $sender, @mechanisms) = @_;
    my (undef, @said) = $v->ask("relay $peer $host $nexthop " . ($sender || '-') . " @mechanisms");
    return $said[0] eq 'say' ? ('say', $said[1], pack('H*', $said[2] eq '-' ? '' : $said[2])) : @said;
}
sub challenge {
    my (undef, @said) = $v->ask("challenge $_[0] " . (length $_[1] ? unpack('H*', $_[1]) : '-'));
    return $said[0] eq 'say' ? ('say', $said[1], pack('H*', $said[2] eq '-' ? '' : $said[2])) : @said;
}

my @lookups = (
    ['s', 'host.test', '[next.test]:587', '', "\0host\0s3cret:1"], ['s', 'HOST.test', 'x', '', "\0host\0s3cret:1"],
    ['s', 'other.test', '[next.test]:587', '', "\0next\0s3cret"], ['s', 'host.test', 'x', 'joe@a.test', "\0host\0s3cret:1"],
    ['b', 'host.test', 'x', 'joe@a.test', "\0joe\0his"], ['b', 'host.test', 'x', 'any@b.test', "\0b\0domain"],
    ['b', 'host.test', 'x', 'x+ext@c.test', "\0c\0base"], ['b', 'host.test', 'x', 'y@c.test', "\0host\0s3cret:1"],
    ['b', 'host.test', 'x', '', "\0host\0s3cret:1"],
);
for (@lookups) {
    my ($peer, $host, $nexthop, $sender, $want) = @$_;
    is_deeply([begin($peer, $host, $nexthop, $sender, 'PLAIN')], ['say', 'PLAIN', $want], "$peer $host $nexthop $sender");
}
is_deeply([begin('s', 'other.test', 'x', 'joe@a.test', 'PLAIN')], ['relay-done', 4], 'no credentials');
is_deeply([begin('n', 'host.test', 'x', '', 'PLAIN')], ['relay-done', 4], 'a service without a table');
is((begin('f', 'host.test', 'x', '', 'PLAIN'))[1], 1, 'a table that fails: not now');
is((begin('s', 'host.test', 'x', '', 'CRAM-MD5', 'NTLM'))[1], 2, 'no mechanism in common');
is((begin('s', 'empty.test', 'x', '', 'PLAIN'))[1], 2, 'a record without a password');

# ---- LOGIN, XOAUTH2 ----

is_deeply([begin('s', 'host.test', 'x', '', 'LOGIN', 'XOAUTH2')], ['say', 'LOGIN', ''], 'LOGIN begins with nothing');
is_deeply([challenge('s', 'Username:')], ['say', '', 'host'], 'then the login');
is_deeply([challenge('s', 'Password:')], ['say', '', 's3cret:1'], 'then the password');
is((challenge('s', 'What?'))[1], 2, 'and no more');
is_deeply([begin('s', 'token.test', 'x', '', 'XOAUTH2')], ['say', 'XOAUTH2', "user=me\@x.test\1auth=Bearer ya29.tok\1\1"], 'XOAUTH2');
is_deeply([challenge('s', '{"status":"400"}')], ['say', '', ''], 'its refusal is answered by nothing');
is_deeply([begin('s', 'host.test', 'x', '', 'plain', 'login', 'SCRAM-SHA-256')]->[1], 'SCRAM-SHA-256', 'the best one is chosen');
is((challenge('s', 'x'))[1], 2, 'rubbish ends it');

# ---- SCRAM-SHA-256 (RFC 7677): the server's half ----

sub scram_server {
    my ($host, $password, %change) = @_;
    my (undef, $mechanism, $first) = begin('s', $host, 'x', '', 'SCRAM-SHA-256', 'PLAIN');
    my ($bare) = $first =~ /^n,,(.*)/;
    my ($login, $nonce) = $bare =~ /^n=(.*),r=(.*)/ or return;
    my ($salt, $i) = ('0123456789', $change{iterations} // 4096);
    my $answer = 'r=' . ($change{nonce} // $nonce . 'srv') . ',s=' . b64($salt) . ",i=$i" . ($change{more} // '');
    my ($what, undef, $final) = challenge('s', $answer);
    return ($what, $final) if $what ne 'say';
    my ($without, $proof) = $final =~ /^(.*),p=(.*)$/;
    my $key = salted($password, $salt, $i);
    my $text = "$bare,$answer,$without";
    my $client = hmac_sha256('Client Key', $key);
    is($proof, b64($client ^ hmac_sha256($text, sha256($client))), "$host: the proof");
    my $v = b64(hmac_sha256($text, hmac_sha256('Server Key', $key)));
    return ($login, challenge('s', $change{final} // "v=$v"));
}
is_deeply([scram_server('host.test', 's3cret:1')], ['host', 'relay-done', '0'], 'a host that knows the password');
is_deeply([scram_server('host.test', 's3cret:1', more => ',x=later')], ['host', 'relay-done', '0'], 'with an extension');
is_deeply([scram_server('odd.test', 'p w')], ['o=2Cd=3Dd', 'relay-done', '0'], 'a login with commas');
is((scram_server('host.test', 's3cret:1', final => 'v=' . b64('x' x 32)))[2], 2, 'one that does not');
is((scram_server('host.test', 's3cret:1', final => 'e=other-error'))[2], 2, 'one that refuses');
is((scram_server('host.test', 's3cret:1', nonce => 'none-of-ours'))[0], 'relay-done', 'a nonce of its own');
is((scram_server('host.test', 's3cret:1', iterations => 10))[0], 'relay-done', 'too few iterations');
is((scram_server('host.test', 's3cret:1', iterations => 100_000_000))[0], 'relay-done', 'too many');
unlike($v->log_text, qr/s3cret|ya29/, 'nothing of it is in the log');
done_testing();
