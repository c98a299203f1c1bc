#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What others ask of us: a server that wants a certificate of ours, whose key vault has; a message
# that must not travel without TLS (REQUIRETLS), and one that would rather travel without it
# (TLS-Required: no).
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::TlsSink;
use Test::More;

my $certs = Gatepost::Certs->new;
my $mx = $certs->make('mx', names => ['mx.test']);
my $rsa = $certs->make('client-rsa', names => ['client.test'], type => 'rsa:2048', by => 'intermediate', client => 1);
my $ec = $certs->make('client-ec', names => ['client.test'], client => 1);
my $own = $certs->make('own', names => ['mx.example']);
my @strict = ('-Verify', 3, '-verify_return_error', '-CAfile', $certs->ca);
my %sink = (
    strict => Gatepost::TlsSink->new(cert => $mx, server => [@strict]),
    strict12 => Gatepost::TlsSink->new(cert => $mx, server => [@strict, '-tls1_2']),
    rsaonly => Gatepost::TlsSink->new(cert => $mx, server => [@strict, '-client_sigalgs', 'rsa_pss_rsae_sha256']),
    keeps => Gatepost::TlsSink->new(cert => $mx, tls_keywords => ['REQUIRETLS', 'SIZE 100000']),
    forgets => Gatepost::TlsSink->new(cert => $mx, keywords => ['REQUIRETLS'], tls_keywords => ['SIZE 100000']),
    clear => Gatepost::TlsSink->new(cert => $mx, starttls => 'none', keywords => ['REQUIRETLS']),
    other => Gatepost::TlsSink->new(cert => $certs->make('other', names => ['other.test']), tls_keywords => ['REQUIRETLS']),
);
my @routes = map {
    my $at = '[127.0.0.1]:' . $sink{$_}->port;
    ("{$_.test=may:$at}", "{$_.verify.test=verify:$at}", "{$_.bare.test=bare:$at}");
} sort keys %sink;
my $gp = Gatepost::Instance->new(main => {
    notify_classes => '', smtp_tls_CAfile => $certs->ca, smtp_tls_loglevel => 1, smtp_tls_secure_cert_match => 'mx.test',
    smtp_tls_verify_cert_match => 'mx.test', smtp_tls_chain_files => "$ec->{both}, $rsa->{both}",
    smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $own->{both},
    maximal_backoff_time => '300s', minimal_backoff_time => '300s', smtpd_forbid_unauth_pipelining => 'no',
    transport_maps => 'inline:{' . join(', ', @routes) . '}',
}, master => [
    "may unix - - n - - smtp-client\n  -o smtp_tls_security_level=may",
    "verify unix - - n - - smtp-client\n  -o smtp_tls_security_level=verify",
    "bare unix - - n - - smtp-client\n  -o smtp_tls_security_level=may -o smtp_tls_chain_files=",
]);
$gp->start;
my $c = $gp->session;

sub got {
    my ($to) = @_;
    return join ' ', map { my $s = $_; map { $_->{tls} ? 'TLS' : 'clear' } grep { $_->{rcpts}[0] eq $to } $s->messages } values %sink;
}
sub becomes {
    my ($to, $want, $how, $what) = @_;
    my $line = $gp->find_log(qr/\w+: to=<\Q$to\E>/, 30) // '';
    like($line, $want, "$to: $what");
    is(got($to), $how, "$to: as it came");
}
my $sent = qr/dsn=2\.0\.0, status=sent \(250 /;

# Certificates of ours: the one of several that the server can use.
for my $kind (qw(strict strict12 rsaonly)) {
    $gp->mark;
    is($c->mail('a@client.test', "u\@$kind.test", "x: y\r\n\r\n")->{code}, 250, "$kind: taken");
    becomes("u\@$kind.test", $sent, 'TLS', 'a server that wants a certificate gets it');
}
$gp->mark;
is($c->mail('a@client.test', 'u@strict.bare.test', "x: y\r\n\r\n")->{code}, 250, 'without one: taken');
becomes('u@strict.bare.test', qr/status=deferred/, '', 'the server does not take it');

# A new worker waits until vault has said its certificates.
is(($gp->tool('gatepost', 'service', @$_))[0], 0, "service @$_") for ['vault', 'stop'], ['may', 'restart'];
$gp->mark;
is($c->mail('a@client.test', 'w@strict.test', "x: y\r\n\r\n")->{code}, 250, 'no vault: taken');
ok(wait_until(10, sub { (($sink{strict}->sessions)[2] // '') =~ /^STARTTLS$/m }), 'STARTTLS is said');
is(($gp->tool('gatepost', 'service', 'vault', 'start'))[0], 0, 'service vault start');
becomes('w@strict.test', $sent, 'TLS', 'then it goes, with the certificate');

# TLS-Required: no.
for my $row (['other', 'TLS'], ['clear', 'clear']) {
    my ($kind, $how) = @$row;
    $gp->mark;
    is($c->mail('a@client.test', "n\@$kind.verify.test", "x: y\r\n\r\n")->{code}, 250, "$kind: taken");
    becomes("n\@$kind.verify.test", qr/status=deferred \((?:Server certificate not verified|TLS is required, but was not)/, '', 'level verify');
    is($c->mail('a@client.test', "o\@$kind.verify.test", "TLS-Required: no\r\nx: y\r\n\r\n")->{code}, 250, "$kind: taken");
    becomes("o\@$kind.verify.test", $sent, $how, 'TLS-Required: no');
}

# REQUIRETLS, which smtpd takes inside of TLS alone.
sub by_tls {
    my ($from, @to) = @_;
    my $input = "$gp->{dir}/input";
    spew($input, join '', map {"$_\r\n"} 'EHLO client.test', map({ ("MAIL FROM:<$from> REQUIRETLS", "RCPT TO:<$_>",
        'DATA', 'x: y', 'TLS-Required: no', '', 'confidential', '.') } @to), 'QUIT');
    my ($status, $out) = run_out('sh', '-c', 'openssl s_client -quiet -starttls smtp -connect "$1" <"$2" 2>/dev/null', 'sh',
        '127.0.0.1:' . $gp->port, $input);
    return $out;
}
$gp->mark;
my @to = map { ("q\@$_.test", "q\@$_.verify.test") } qw(keeps forgets clear other);
my $said = by_tls('a@client.test', @to);
is(scalar(() = $said =~ /^250 2\.0\.0 Ok: queued/mg), scalar @to, 'REQUIRETLS: taken') or diag $said;
for my $level ('', 'verify.') {
    becomes("q\@keeps.${level}test", $sent, 'TLS', 'a server that promises it');
    becomes("q\@forgets.${level}test", qr/dsn=5\.7\.30, status=bounced \(REQUIRETLS is required, but was not offered by host /, '',
        'one that offers it before TLS alone');
    becomes("q\@clear.${level}test", qr/dsn=5\.7\.30, status=bounced \(TLS is required, but was not offered by host /, '', 'one without TLS');
    becomes("q\@other.${level}test", qr/dsn=5\.7\.30, status=bounced \(Server certificate not verified\)/, '', 'one of another name');
}
like(($sink{keeps}->messages)[0]{mail}, qr/^<a\@client\.test> SIZE=\d+ REQUIRETLS$/, 'it is told on');
$gp->mark;
is($c->mail('a@client.test', 'p@keeps.test', "x: y\r\n\r\n")->{code}, 250, 'without REQUIRETLS: taken');
becomes('p@keeps.test', $sent, 'TLS', 'as ever');
my ($plain) = grep { $_->{rcpts}[0] eq 'p@keeps.test' } $sink{keeps}->messages;
unlike($plain->{mail}, qr/REQUIRETLS/, 'and says nothing of it');

# A notice about such a message has nothing of its body, so it is sent anywhere rather than lost
# (RFC 8689, 5; requiretls_redact_dsn).
for my $row (['keeps', 'TLS'], ['forgets', 'TLS'], ['clear', 'clear']) {
    my ($kind, $how) = @$row;
    $gp->mark;
    like(by_tls("n\@$kind.test", 'bounce@forgets.test'), qr/^250 2\.0\.0 Ok: queued/m, "notice, $kind: taken");
    becomes("n\@$kind.test", $sent, $how, 'the notice');
    my ($notice) = grep { $_->{rcpts}[0] eq "n\@$kind.test" } $sink{$kind}->messages;
    is($notice->{from}, '', "notice, $kind: without a sender");
    unlike($notice->{mail}, qr/REQUIRETLS/, "notice, $kind: nor a wish");
    like($notice->{content}, qr/^Diagnostic-Code: .*REQUIRETLS is required|^x: y$/m, "notice, $kind: says what it is about");
    unlike($notice->{content}, qr/confidential/, "notice, $kind: but not the body");
}

ok(!$gp->all_lines(qr/panic|fatal/), 'nothing broke');
diag tail($gp->{log}, 40) if !Test::More->builder->is_passing;
done_testing;
