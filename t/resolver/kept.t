#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A session that is kept serves every domain behind its host, and only those for which it would come
# to the same: at level dane as long as its server is to be known by the same records; else with the
# same policy, the same names to be verified, the same login.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Certs;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Tables;
use Gatepost::TlsSink;
use Digest::SHA qw(sha256);
use MIME::Base64 qw(decode_base64);
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
Gatepost::Netns::resolv_conf(tempdir('conf'), "nameserver 127.0.0.53\noptions timeout:10 attempts:2 trust-ad\n");

# ---- Domains behind one host, by level ----
# Each transport has one worker, which keeps one session, and a server of its own behind the same name.
my $all = $certs->make('all', names => ['mx.odd', map {"$_.odd"} 'a' .. 'f']);
my ($policy, $logins) = map { tempdir('tables') . "/$_" } qw(policy logins);
# transport => [settings, the sessions that there are after mail to each of these domains, in this order]
my %reuse = (
    none => ['smtp_tls_security_level=none', 'a 1 b 1 a 1'],
    may => ['smtp_tls_security_level=may', 'a 1 b 1 c 1 a 1'],
    encrypt => ['smtp_tls_security_level=encrypt', 'a 1 b 1'],
    hostname => ['smtp_tls_security_level=verify -o smtp_tls_verify_cert_match=hostname', 'a 1 b 1'],
    nexthop => ['smtp_tls_security_level=verify -o smtp_tls_verify_cert_match=nexthop', 'a 1 b 2 b 2 a 3'],
    secure => ['smtp_tls_security_level=secure', 'a 1 b 2 b 2 a 3'],
    once => ['smtp_tls_security_level=may -o smtp_tls_connection_reuse=no', 'a 1 b 2 b 3'],
    # a: may; b: encrypt; c: as b; d: none; e: verify; f: as e
    policy => ["smtp_tls_security_level=may -o smtp_tls_policy_maps=" . table_name("hash:$policy"), 'a 1 b 2 c 2 a 3 d 4 e 5 f 5 b 6'],
    # a and b: the same; c: another; d: none. Whether it is the same is known when vault has been asked once.
    login => ["smtp_sasl_auth_enable=yes -o smtp_sasl_password_maps=hash:$logins -o smtp_tls_security_level=encrypt"
        . ' -o smtp_sasl_security_options=noanonymous', 'a 1 b 2 a 2 c 3 a 4 c 5 d 6 c 7 d 8 d 8'],
);
my %server = map { $_ => Gatepost::TlsSink->new(cert => $all, addr => '127.0.0.11', $_ eq 'login' ? (tls_keywords => ['AUTH PLAIN']) : ()) } keys %reuse;
sub at { my ($name, $domain) = @_; return "$domain.odd:" . $server{$name}->port }
table('hash', $policy, join '', map { my ($d, $entry) = split / /, $_, 2; at('policy', $d) . " $entry\n" } 'b encrypt', 'c encrypt', 'd none',
    map {"$_ verify match=hostname"} 'e', 'f');
table('hash', $logins, join '', map { my ($d, $entry) = split / /; at('login', $d) . " $entry\n" } 'a joe:secret', 'b joe:secret', 'c ann:other');
my @transports = map {"$_ unix - - n - 1 smtp-client\n  -o smtp_tls_CAfile=@{[ $certs->ca ]} -o $reuse{$_}[0]"} sort keys %reuse;
my %sites = (transport_maps => 'inline:{' . join(', ', map { my $name = $_; map {"{$_.$name.test=$name:" . at($name, $_) . '}'} 'a' .. 'f' } sort keys %reuse) . '}');

my $gp = Gatepost::Instance->new(main => {
    %sites, relayhost => '', notify_classes => '', minimal_backoff_time => '300s', maximal_backoff_time => '400s',
    smtp_dns_support_level => 'dnssec', smtp_tls_security_level => 'dane-only', smtp_tls_connection_reuse => 'yes',
    smtp_connection_cache_time_limit => '30s', smtp_tls_loglevel => 1,
}, master => \@transports);
$gp->start;
my $c = $gp->session;

# What name servers say now, the next hop, what becomes of mail to it, the sessions there were so far.
my @steps = (
    ['right', 'a.odd', qr/status=sent/, 1, 'a first message'],
    ['right', 'a.odd', qr/conn_use=2, .*status=sent/, 1, 'the same: the session is used again'],
    ['wrong', 'a.odd', qr/status=deferred \(Server certificate not verified\)$/, 2, 'another record: it does not help'],
    ['more', 'a.odd', qr/relay=mx\.odd\[127\.0\.0\.11\]:25, delay.*status=sent/, 3, 'one more record: a session of its own'],
    ['none', 'a.odd', qr/status=deferred \(no TLSA records found\)$/, 3, 'no record any more'],
);
my $n = 0;
for my $step (@steps) {
    my ($say, $hop, $want, $sessions, $what) = @$step;
    spew($state, $say);
    my $to = 'u' . $n++ . "\@$hop";
    $c->mail('', $to, "Subject: x\r\n\r\nx\r\n");
    like($gp->find_log(qr/smtp\[\d+\]: \w+: to=<\Q$to\E>/, 20) // '', $want, $what);
    is(scalar(my @all = $sink->sessions), $sessions, "$what: sessions so far");
}

for my $name (sort keys %reuse) {
    my @plan = split ' ', $reuse{$name}[1];
    my ($nr, %used) = 0;
    while (my ($domain, $sessions) = splice @plan, 0, 2) {
        my $to = 's' . $nr++ . "\@$domain.$name.test";
        $c->mail('', $to, "Subject: x\r\n\r\nx\r\n");
        like($gp->find_log(qr/smtp\[\d+\]: \w+: to=<\Q$to\E>/, 20) // '', qr/relay=mx\.odd\[127\.0\.0\.11\].*status=sent/, "$name: $to is sent");
        is(scalar(my @all = $server{$name}->sessions), $sessions, "$name: $to: sessions so far");
    }
}
# Whose mail went by which session.
my %login = (a => 'joe', b => 'joe', c => 'ann', d => 'nobody');
for my $text ($server{login}->sessions) {
    my ($plain) = $text =~ /^AUTH PLAIN (\S+)$/m;
    my $who = defined $plain ? (split /\0/, decode_base64($plain))[1] : 'nobody';
    is(join(' ', map { $login{$_} eq $who ? () : $_ } $text =~ /^RCPT TO:<s\d+\@(\w)\.login/mg), '', "the session of $who has no mail of others");
}
ok(!(grep { /^RCPT TO:<s\d+\@[bcef]\./m && !/^TLS$/m } $server{policy}->sessions), 'nothing is in clear text that must not be');
$gp->stop;
done_testing;
