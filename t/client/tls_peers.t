#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# TLS towards real servers: Postfix, Exim, and Dovecot by LMTP.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Test::More;

my $certs = Gatepost::Certs->new;
my $rsa = $certs->make('rsa', names => ['postfix.test'], type => 'rsa:2048', by => 'intermediate');
my $ec = $certs->make('ec', names => ['postfix.test']);
my $edwards = $certs->make('ed25519', names => ['exim.test'], type => 'ed25519');
my $dove = $certs->make('dove', names => ['dovecot.test'], type => 'rsa:2048');
my %tls = (smtpd_tls_security_level => 'encrypt', smtpd_tls_loglevel => 2, smtpd_tls_received_header => 'yes');
my $postfix = Gatepost::Peers->postfix(domains => ['postfix.test'], main => {
    %tls, smtpd_tls_chain_files => "$rsa->{both}, $ec->{both}" });
my $port = free_port();
my $smtps = "127.0.0.1:$port inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes";
my $wrapped = Gatepost::Peers->postfix(domains => ['wrapped.test'], main => {
    %tls, smtpd_tls_chain_files => $ec->{both} }, services => [$smtps]);
my $exim = Gatepost::Peers->exim(domains => ['exim.test'], tls => $edwards);
my $dovecot = Gatepost::Peers->dovecot(users => ['anna', 'bert'], tls => $dove);

my $gp = Gatepost::Instance->new(main => {
    smtp_tls_security_level => 'verify', smtp_tls_CAfile => $certs->ca, smtp_tls_loglevel => 2,
    lmtp_tls_security_level => 'secure', lmtp_tls_CAfile => $certs->ca, lmtp_tls_loglevel => 1,
    lmtp_tls_secure_cert_match => 'dovecot.test',
    smtp_tls_verify_cert_match => 'postfix.test, exim.test',
    transport_maps => 'inline:{postfix.test=smtp:[127.0.0.1]:' . $postfix->port . ', exim.test=smtp:[127.0.0.1]:' . $exim->port
        . ', old.test=old:[127.0.0.1]:' . $postfix->port . ", wrapped.test=wrap:[127.0.0.1]:$port"
        . ', no.test=no:[127.0.0.1]:' . $exim->port . ', dovecot.test=lmtp:inet:127.0.0.1:' . $dovecot->port . '}',
}, master => [
    "old unix - - n - - smtp-client\n  -o { smtp_tls_mandatory_protocols = TLSv1.2 }\n  -o smtp_tls_connection_reuse=no",
    "wrap unix - - n - - smtp-client\n  -o smtp_tls_wrappermode=yes",
    "no unix - - n - - smtp-client\n  -o smtp_tls_verify_cert_match=else.test",
]);
$gp->start;
my $c = $gp->session;

my $head = "From: a\@client.test\r\nSubject: TLS\r\n\r\n";
for my $row (['postfix', $postfix, 'TLSv1\.3 with cipher TLS_AES_256_GCM_SHA384'], ['wrapped', $wrapped, 'TLSv1\.3'],
    ['exim', $exim, 'TLSv1\.3 with cipher']) {
    my ($name, $peer, $words) = @$row;
    is($c->mail('a@client.test', ["u\@$name.test", "v\@$name.test"], $head . "x\r\n")->{code}, 250, "$name: taken");
    $gp->wait_log(qr/to=<$_\@$name\.test>, .*status=sent \(250[- ]/, "$name: $_ is sent") for qw(u v);
    ok(scalar($gp->log_lines(qr/Verified TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: $words/)), "$name: verified");
    my @mail = $peer->wait_received(2);
    is(scalar @mail, 2, "$name: once for each");
    like($mail[0], $name eq 'exim' ? qr/with esmtps\s+\(TLS1\.3\)/ : qr/\(using TLSv1\.3 with cipher /, "$name: the server's words");
}

# Large content, by many records.
my $large = $head . join '', map { sprintf "%06d %s\r\n", $_, 'x' x 60 } 1 .. 30_000;
is($c->mail('a@client.test', 'big@postfix.test', $large)->{code}, 250, 'a large one: taken');
$gp->wait_log(qr/to=<big\@postfix\.test>, .*status=sent/, 'is sent');
my ($got) = grep { length > 1_000_000 } $postfix->wait_received(3);
like($got // '', qr/^030000 x{60}\n\z/m, 'whole');

# A session of TLS is resumed, by connections of their own, and is as verified as it was.
for (1 .. 3) {
    is($c->mail('a@client.test', "r$_\@old.test", $head)->{code}, 250, "resumed: $_");
    $gp->wait_log(qr/to=<r$_\@old\.test>/, "resumed: $_ is tried");
}
my @lines = $gp->log_lines(qr/Verified TLS connection established to \S+: TLSv1\.2 with cipher/);
is(scalar @lines, 3, 'three handshakes of TLS 1.2, verified');
cmp_ok(scalar($gp->log_lines(qr/: Reusing old session$/)), '>=', 2, 'two of them resume the first');

# The wrong name.
is($c->mail('a@client.test', 'n@no.test', $head)->{code}, 250, 'to a server of another name');
$gp->wait_log(qr/to=<n\@no\.test>, .*dsn=4\.7\.5, status=deferred \(Server certificate not verified\)/, 'not sent');

# LMTP.
is($c->mail('a@client.test', ['anna@dovecot.test', 'bert@dovecot.test', 'nobody@dovecot.test'], $head)->{code}, 250, 'LMTP');
$gp->wait_log(qr/lmtp\[\d+\]: \w+: to=<$_\@dovecot\.test>, .*status=sent/, "LMTP: $_") for qw(anna bert);
$gp->wait_log(qr/lmtp\[\d+\]: \w+: to=<nobody\@dovecot\.test>, .*status=bounced/, 'LMTP: nobody');
ok(scalar($gp->log_lines(qr/lmtp\[\d+\]: Verified TLS connection established to /)), 'LMTP: verified');
is(scalar($dovecot->received), 2, 'once for each');

ok(!$gp->log_lines(qr/panic|fatal/), 'nothing broke');
diag tail($gp->{log}, 30) if !Test::More->builder->is_passing;
done_testing;
