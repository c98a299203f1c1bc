#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A session that is kept at level dane is used again only as long as its server is to be known by the
# same: TLSA records that change, or go, count for the next message.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Certs;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::TlsSink;
use Digest::SHA qw(sha256);
use Socket qw(inet_aton);
use Test::More;

my $certs = Gatepost::Certs->new;
my $cert = $certs->make('mx', names => ['mx.odd'], by => 'self');
my $sink = Gatepost::TlsSink->new(cert => $cert, addr => '127.0.0.11', port => 25);
my ($status, $key) = run_out('sh', '-c', "openssl x509 -in $cert->{cert} -noout -pubkey | openssl pkey -pubin -outform DER | od -An -v -tx1");
my $right = "\3\1\1" . sha256(pack 'H*', $key =~ s/\s//gr);
my $state = tempdir('kept') . '/state';
spew($state, 'right');
Gatepost::Dns->nasty(addr => '127.0.0.53', resolv_conf => 0, answer => sub {
    my ($q) = @_;
    my ($now, @secure) = (slurp($state), flags => 0x0020);
    my $give = sub { Gatepost::Dns::reply($q, @secure, records => [map { [$q->{type}, $_, undef, 0] } @_]) };
    return $give->(inet_aton('127.0.0.11')) if $q->{type} == 1;
    return $give->(pack('n', 10) . Gatepost::Dns::name_bytes('mx.odd')) if $q->{type} == 15;
    return $give->() if $q->{type} != 52 || $now eq 'none';
    return $give->($now eq 'right' ? $right : $now eq 'more' ? ($right, "\3\1\1" . 'x' x 32) : "\3\1\1" . 'y' x 32);
});
Gatepost::Netns::resolv_conf(tempdir('conf'), "nameserver 127.0.0.53\noptions timeout:2 attempts:1 trust-ad\n");
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', notify_classes => '', minimal_backoff_time => '300s', maximal_backoff_time => '400s',
    smtp_dns_support_level => 'dnssec', smtp_tls_security_level => 'dane-only', smtp_tls_connection_reuse => 'yes',
    smtp_connection_cache_time_limit => '30s', smtp_tls_loglevel => 1,
});
$gp->start;
my $c = $gp->session;

# What name servers say now, the next hop, what becomes of mail to it, the sessions there were so far.
my @steps = (
    ['right', 'a.odd', qr/status=sent/, 1, 'a first message'],
    ['right', 'a.odd', qr/conn_use=2, .*status=sent/, 1, 'the same: the session is used again'],
    ['wrong', 'a.odd', qr/status=deferred \(Server certificate not verified\)$/, 2, 'another record: it does not help'],
    ['more', 'a.odd', qr/relay=mx\.odd\[127\.0\.0\.11\]:25, delay.*status=sent/, 3, 'one more record: a session of its own'],
    ['none', 'a.odd', qr/status=deferred \(no TLSA records found\)$/, 3, 'no record any more'],
    ['right', 'b.odd', qr/status=sent/, undef, 'another domain behind the same host'],
);
my $n = 0;
for my $step (@steps) {
    my ($say, $hop, $want, $sessions, $what) = @$step;
    spew($state, $say);
    my $to = 'u' . $n++ . "\@$hop";
    $c->mail('', $to, "Subject: x\r\n\r\nx\r\n");
    like($gp->find_log(qr/smtp\[\d+\]: \w+: to=<\Q$to\E>/, 20) // '', $want, $what);
    is(scalar(my @all = $sink->sessions), $sessions, "$what: sessions so far") if defined $sessions;
}
$gp->stop;
done_testing;
