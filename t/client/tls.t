#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The security levels towards servers that are good, bad and hostile: what each level promises, word
# for word as Postfix says it, every recipient once.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::TlsSink;
use Test::More;

my $certs = Gatepost::Certs->new;
my $good = $certs->make('good', names => ['mx.test']);
my %kind = (
    good => { cert => $good },
    rsa => { cert => $certs->make('rsa', names => ['mx.test'], type => 'rsa:2048', by => 'intermediate') },
    tls12 => { cert => $good, server => ['-tls1_2'] },
    expired => { cert => $certs->make('expired', names => ['mx.test'], expired => 1) },
    self => { cert => $certs->make('self', names => ['mx.test'], by => 'self') },
    wrong => { cert => $certs->make('wrong', names => ['other.test']) },
    short => { cert => $certs->make('short', names => ['mx.test'], by => 'intermediate', alone => 1) },
    old => { cert => $good, server => ['-tls1', '-cipher', 'ALL:@SECLEVEL=0'] },
    map({ $_ => { cert => $good, starttls => $_ } } qw(none refuse refuse5 garbage close inject drop)),
);
my %sink = map { $_ => Gatepost::TlsSink->new(%{ $kind{$_} }) } keys %kind;
my @levels = qw(none may encrypt fingerprint verify secure dane dane-only);

# What becomes of the mail: "TLS" or "clear" when it is sent, else the log's status and text.
my %handshake = map { $_ => qr/dsn=4\.7\.5, status=deferred \(Cannot start TLS: handshake failure\)$/ } qw(garbage close old);
my $lost = qr/dsn=4\.4\.2, status=deferred \(lost connection with \S+ while sending MAIL FROM\)$/;
my $unverified = qr/dsn=4\.7\.5, status=deferred \(Server certificate not verified\)$/;
my %required = (
    %handshake, drop => $lost,
    none => qr/dsn=4\.7\.4, status=deferred \(TLS is required, but was not offered by host 127\.0\.0\.1\[127\.0\.0\.1\]\)$/,
    refuse => qr/dsn=4\.7\.0, status=deferred \(TLS is required, but host \S+ refused to start TLS: 454 4\.7\.0 TLS not available now\)$/,
    refuse5 => qr/dsn=5\.5\.1, status=bounced \(TLS is required, but host \S+ refused to start TLS: 502 5\.5\.1 no such thing\)$/,
);
my %tls = map { $_ => 'TLS' } qw(good rsa tls12 expired self wrong short inject);
my %opportunistic = (%tls, %handshake, drop => $lost, map { $_ => 'clear' } qw(none refuse refuse5));
my %verified = (%tls, %required, map { $_ => $unverified } qw(expired self wrong short));
my %want = (
    none => { map { $_ => 'clear' } keys %kind },
    may => \%opportunistic, encrypt => { %tls, %required },
    fingerprint => { %tls, %required, map { $_ => $unverified } qw(rsa expired self wrong short) },
    verify => \%verified, secure => \%verified,
    # An address has no records.
    dane => \%opportunistic,
    'dane-only' => { map { $_ => qr/relay=none, .*dsn=4\.7\.5, status=deferred \(no TLSA records found\)$/ } keys %kind },
);

my @routes = map {
    my $level = $_;
    map {"$_.$level.test=$level:[127.0.0.1]:" . $sink{$_}->port} sort keys %kind;
} @levels;
my $gp = Gatepost::Instance->new(main => {
    minimal_backoff_time => '300s', maximal_backoff_time => '400s', notify_classes => '', smtp_dns_support_level => 'dnssec',
    smtp_tls_CAfile => $certs->ca, smtp_tls_loglevel => 1, smtp_tls_note_starttls_offer => 'yes',
    smtp_tls_verify_cert_match => 'mx.test', smtp_tls_secure_cert_match => 'mx.test',
    smtp_tls_fingerprint_cert_match => $certs->fingerprint($good->{cert}), smtp_tls_fingerprint_digest => 'sha256',
    transport_maps => 'inline:{' . join(', ', @routes) . '}',
}, master => [map {"$_ unix - - n - - smtp-client\n  -o smtp_tls_security_level=$_"} @levels]);
$gp->start;

my $c = $gp->session;
for my $level (@levels) {
    is($c->mail('', [map {"u\@$_.$level.test"} sort keys %kind], "Subject: $level\r\n\r\nx\r\n")->{code}, 250,
        "$level: taken");
}
for my $level (@levels) {
    for my $kind (sort keys %kind) {
        my $to = "u\@$kind.$level.test";
        my $want = $want{$level}{$kind};
        my $line = $gp->find_log(qr/smtp\[\d+\]: \w+: to=<\Q$to\E>/, 30) // '';
        like($line, ref $want ? $want : qr/dsn=2\.0\.0, status=sent \(250 2\.0\.0 taken\)$/, "$level, $kind: the log");
        my @got = grep { $_->{rcpts}[0] eq $to } $sink{$kind}->messages;
        is(join(' ', map { $_->{tls} ? 'TLS' : 'clear' } @got), ref $want ? '' : $want, "$level, $kind: the mail");
    }
}
diag tail($gp->{log}, 30) if !Test::More->builder->is_passing;

# Exactly one log line for each: nothing was tried twice.
is(scalar($gp->log_lines(qr/smtp\[\d+\]: \w+: to=</)), @levels * keys %kind, 'one outcome for each recipient');

# What is never said before TLS, and what is said twice.
for my $text ($sink{good}->sessions, $sink{inject}->sessions) {
    next if $text !~ /^TLS$/m;
    like($text, qr/\AEHLO mx\.example\nSTARTTLS\nTLS\nEHLO mx\.example\nMAIL /, 'EHLO before and inside of TLS, MAIL inside alone');
}
unlike($_, qr/^(?:XCLIENT|MAIL.*SIZE)/m, 'what was injected counts not') for $sink{inject}->sessions;
unlike(join('', map { $_->sessions } values %sink), qr/^(?!EHLO|HELO|STARTTLS|TLS$|MAIL|RCPT|DATA|RSET|QUIT)/m,
    'nothing but SMTP was said');

# Words of Postfix.
my %log = (
    'Trusted TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384'
        . ' (256/256 bits) key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256' => 'good',
    'Untrusted TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.3 with cipher ' => 'expired',
    'Verified TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.3 ' => 'rsa',
    'Verified TLS connection established to 127.0.0.1[127.0.0.1]:PORT: TLSv1.2 with cipher ECDHE-ECDSA-AES256-GCM-SHA384 (256/256 bits)' => 'tls12',
    'certificate verification failed for 127.0.0.1[127.0.0.1]:PORT: untrusted issuer /CN=Test Intermediate' => 'short',
    'certificate verification failed for 127.0.0.1[127.0.0.1]:PORT: self-signed certificate' => 'self',
    'server certificate verification failed for 127.0.0.1[127.0.0.1]:PORT: certificate has expired' => 'expired',
    'server certificate verification failed for 127.0.0.1[127.0.0.1]:PORT: num=62:hostname mismatch' => 'wrong',
    'SSL_connect error to 127.0.0.1[127.0.0.1]:PORT: lost connection' => 'close',
    'Host offered STARTTLS: [127.0.0.1]' => 'good',
);
for my $text (sort keys %log) {
    my $port = $sink{ $log{$text} }->port;
    my $line = $text =~ s/PORT/$port/r;
    ok(scalar($gp->log_lines(qr/\Q$line\E/)), $line);
}
ok(!$gp->log_lines(qr/panic|fatal/), 'nothing broke');

done_testing;
