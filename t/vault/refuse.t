#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What vault signs and what it refuses, by frames as a process that was broken into could send them;
# how often; ticket keys; who is told what. Each row of the table of inputs is in keys_test.c.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Vault;
use Test::More;

need('openssl');
my $dir = tempdir('refuse');
my %pair = map { $_ => pair("$dir/$_", 'p256') } qw(server client other);
my $services = join ' ', map {"{ $_->[0] { } { } { $dir/$_->[1].pem } { } { } no }"}
    ['smtp/inet', 'server'], ['smtp/unix', 'client'], ['other/inet', 'other'];
my $v = Gatepost::Vault->new(files => [map { $_->{chain} } values %pair], services => $services,
    main => { vault_signature_rate_limit => 0 });
my $first = $v->peer(s => 'smtpd', 'smtp/inet');
my $client = $v->peer(c => 'smtp-client', 'smtp/unix');
$v->peer(o => 'smtpd', 'other/inet');
is_deeply([map { $_->[0] } @{ $client->{chains} }], [$pair{client}{id}], 'smtp-client has a chain of its own');
is_deeply($client->{tickets}, [], 'and no ticket keys');

my @refused = (
    ['a bare hash', 's', 'server', '0403', 'h' x 32],
    ['a text', 's', 'server', '0403', 'Pay 1000 to Mallory'],
    ['nothing at all', 's', 'server', '0403', ''],
    ["the other side's", 's', 'server', '0403', tls13('client')],
    ["the other side's, of a client", 'c', 'client', '0403', tls13('server')],
    ['a client as a server of 1.2', 'c', 'client', '0403', 'r' x 64 . pack('CnC', 3, 29, 32) . 'k' x 32],
    ['a longer hash', 's', 'server', '0403', tls13('server', 'h' x 64)],
    ['the certificate of an authority', 's', 'server', '0403', $pair{other}{der}],
    ['SHA-1', 's', 'server', '0203', tls13('server')],
    ['RSA with an ECDSA key', 's', 'server', '0804', tls13('server')],
    ["another service's key", 's', 'other', '0403', tls13('server')],
    ["smtp-client's key for smtpd", 's', 'client', '0403', tls13('client')],
    ["smtpd's key for smtp-client", 'c', 'server', '0403', tls13('client')],
);
for (@refused) {
    my ($name, $peer, $key, $scheme, $input) = @$_;
    my ($result, $signature, $text) = $v->sign($peer, $pair{$key}{id}, $scheme, $input);
    is("$result$signature", 2, "$name is refused") or next;
    ok($v->find_log(qr/warning: service \S+ \(\S+ \d+\): a signature is refused: \Q$text\E/), "and logged: $text");
}
is(($v->sign('s', $pair{server}{id}, '0403', tls13('server')))[0], 0, 'a good one is signed, whoever asked before');
is(($v->sign('c', $pair{client}{id}, '0403', tls13('client')))[0], 0, 'also for a client');
is(($v->sign('s', 'ab' x 16, '0403', tls13('server')))[0], 2, 'an id that is none');

# One process cannot fill the log.
my $lines = sub { my @all = $v->log_text =~ /^(.*signature is refused.*)$/mg; scalar @all };
$v->sign('o', $pair{other}{id}, '0403', 'x') for 1 .. 50;
cmp_ok($lines->(), '<=', @refused + 12, 'what it asks again and again is not logged again and again');
ok($v->find_log(qr/other\/inet.*no more of this is logged/), 'and that is said');

# ---- ticket keys ----

my ($key, $until) = @{ $first->{tickets}[0] };
is(length $key, 160, 'a ticket key of 80 bytes');
cmp_ok(abs($until / 1e6 - time - 7200), '<', 120, 'good for two hours');
is($v->peer(t => 'smtpd', 'smtp/inet')->{tickets}[0][0], $key, 'the same for each smtpd');
my $again = Gatepost::Vault->new(files => [$pair{server}{chain}], services => $services);
isnt($again->peer(t => 'smtpd', 'smtp/inet')->{tickets}[0][0], $key, 'another vault has its own');

# ---- how often ----

my $slow = Gatepost::Vault->new(files => [map { $_->{chain} } values %pair], services => $services,
    main => { vault_signature_rate_limit => 20 });
$slow->peer($_->[0], 'smtpd', $_->[1]) for ['s', 'smtp/inet'], ['o', 'other/inet'];
my %count;
$count{ ($slow->sign('s', $pair{server}{id}, '0403', tls13('server')))[0] }++ for 1 .. 400;
cmp_ok($count{0}, '>=', 40, 'as many as two seconds are worth at once');
ok($count{1}, 'then not now');
is(($slow->sign('o', $pair{other}{id}, '0403', tls13('server')))[0], 0, 'others are served');
ok(wait_until(10, sub { !($slow->sign('s', $pair{server}{id}, '0403', tls13('server')))[0] }), 'later again');

# ---- the end ----

$v->order('drain');
my @end = map { join ' ', $v->said } 1 .. 5;
is($end[4], 'ended 0', 'vault that is to go, goes');
done_testing();
